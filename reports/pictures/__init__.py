"""Charts and curves, drawn as SVG."""
