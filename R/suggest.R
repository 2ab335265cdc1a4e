# "Did you mean ...?" for a misspelt name.
suggest <- function(name, known, quote = TRUE) {
  if (length(known) == 0L) return("")
  distance <- utils::adist(tolower(name), tolower(known))[1L, ]
  best <- which.min(distance)
  if (distance[best] <= max(2L, nchar(name) %/% 3L)) {
    return(paste0("Did you mean ", if (quote) "`", known[best], if (quote) "`", "?"))
  }
  shown <- utils::head(known, 30L)
  paste0("Known: ", paste0(shown, collapse = ", "), if (length(known) > 30L) ", ...", ".")
}

is_string <- function(x) is.character(x) && length(x) == 1L && !is.na(x)

# What a value looks like, short enough for a message.
show_value <- function(x) {
  text <- paste(utils::capture.output(utils::str(x, give.attr = FALSE, vec.len = 3L, max.level = 1L)), collapse = " ")
  text <- trimws(gsub("\\s+", " ", text))
  if (nchar(text) > 60L) paste0(substr(text, 1L, 57L), "...") else text
}
