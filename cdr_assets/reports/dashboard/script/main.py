"""What Streamlit runs.

It is alone in its folder. Streamlit treats each module in a folder `pages` next to its script as a page, and the first
visitor would see such a page without the frame.
"""

from __future__ import annotations

from cdr_assets.reports.dashboard.app import main

if __name__ == "__main__":
    main()
