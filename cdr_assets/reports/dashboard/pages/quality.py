"""How good the media were, per client."""

from __future__ import annotations

import streamlit as st


def page() -> None:
    """The page."""
    st.info("Nothing is here yet.")
