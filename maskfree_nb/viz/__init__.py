"""Pictures: overlays, figures, and `explore`, the widget to click through the matches of a clip."""


def __getattr__(name: str):
    if name == "explore":  # lazily: it needs the extra `notebooks`
        from maskfree_nb.viz.explorer import explore

        return explore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
