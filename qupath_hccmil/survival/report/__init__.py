"""The report: sections of text, tables and figures, rendered as HTML or Markdown."""
