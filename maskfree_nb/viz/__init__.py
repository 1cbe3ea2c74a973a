"""Pictures: overlays and figures."""
