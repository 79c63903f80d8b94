"""The board as one HTML page, and the server that shows it.

`html` puts the page together from `template.html`, the styles, the scripts and the library of the charts; `data` gives
the scripts the board as JSON, `charts` the specifications of the charts, `serve` is the server. The page loads nothing
over the network. Statistics belong in `leaderboard.stats`, other formats of the board in `leaderboard.views`.
"""
