# A title and, aligned below it, what is known. Facts that are NULL or empty are left out.
show_summary <- function(x, facts) {
  facts <- facts[lengths(facts) > 0L]
  cli::cat_line(cli::style_bold(as.character(x)))
  width <- max(nchar(names(facts))) + 2L
  for (name in names(facts)) {
    fact <- facts[[name]]
    text <- if (inherits(fact, "POSIXct")) format(fact, "%Y-%m-%d %H:%M:%S UTC") else as.character(fact)
    text <- strwrap(paste(text, collapse = ", "), width = max(20L, cli::console_width() - width - 2L))
    label <- c(cli::col_grey(formatC(name, width = -width)), rep(strrep(" ", width), max(0L, length(text) - 1L)))
    cli::cat_line("  ", label, text)
  }
  invisible(x)
}
