"""A page of figures that asks for nothing from outside."""

import html

from keras_pointpeft.reports.viewer import SCRIPT
from keras_pointpeft.reports.viewer import STYLE


def whole(title, body):
    """A whole page with plotly's script inside."""
    from plotly.offline import get_plotlyjs

    title = html.escape(title)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        # An empty icon, so that a browser does not ask a server for one.
        '<link rel="icon" href="data:,">'
        f"<title>{title}</title><style>{STYLE}</style>"
        f"<script>{get_plotlyjs()}</script><script>{SCRIPT}</script></head>"
        f"<body><h1>{title}</h1>{body}</body></html>\n"
    )


def section(title, text, content):
    """A part of the page, or nothing without content."""
    if not content:
        return ""
    return (
        f"<section><h2>{html.escape(title)}</h2>"
        f"<p>{html.escape(text)}</p>{content}</section>\n"
    )


def table(rows, name=""):
    """Rows of strings as a table."""
    lines = (
        "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row)
        for row in rows
    )
    lines = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<table class="{name}">{lines}</table>'


def figure(drawn, width, height):
    """A plotly figure as a part of the page."""
    import plotly.io

    drawn.update_layout(
        width=width,
        height=height,
        template="simple_white",
        margin={"l": 60, "r": 20, "t": 60, "b": 60},
        font={"size": 12},
    )
    return plotly.io.to_html(
        drawn,
        full_html=False,
        include_plotlyjs=False,
        config={"displayModeBar": False},
    )
