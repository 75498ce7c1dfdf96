"""The views, one blueprint a noun."""
