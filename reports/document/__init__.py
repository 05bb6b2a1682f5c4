"""How a report is written down: blocks, and what turns them into HTML, Markdown and LaTeX."""
