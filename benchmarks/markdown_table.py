"""Tables of the pages of results."""


def markdown_table(head: list[str], lines: list[list[str]]) -> str:
    """Return a table in Markdown: the first column to the left, the rest to the right.

    >>> print(markdown_table(["row", "AP"], [["boxes", "40.1"]]))
    | row | AP |
    | --- | ---: |
    | boxes | 40.1 |
    """
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *lines])
