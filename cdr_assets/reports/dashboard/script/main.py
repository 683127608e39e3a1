"""What Streamlit runs.

It has a folder of its own, since Streamlit takes the modules of a folder `pages` next to it for scripts of their own:
the first visitor would get such a page without the frame.
"""

from __future__ import annotations

from cdr_assets.reports.dashboard.app import main

if __name__ == "__main__":
    main()
