# "Did you mean ...?" for a misspelt name.
suggest <- function(name, known, quote = TRUE, only_near = FALSE) {
  if (length(known) == 0L) return("")
  distance <- utils::adist(tolower(name), tolower(known))[1L, ]
  best <- which.min(distance)
  if (distance[best] <= max(2L, nchar(name) %/% 3L) && distance[best] < nchar(name)) {
    return(paste0("Did you mean ", if (quote) "`", known[best], if (quote) "`", "?"))
  }
  if (only_near) return("")
  shown <- utils::head(known, 30L)
  paste0("Known: ", paste0(shown, collapse = ", "), if (length(known) > 30L) ", ...", ".")
}

is_string <- function(x) is.character(x) && length(x) == 1L && !is.na(x)

# What a value looks like, short enough for a message: as one would write it, or what it is.
show_value <- function(x) {
  if (is.function(x)) return("a function")
  if (is.data.frame(x)) return("a data frame")
  if (is.object(x) || is.environment(x) || is.list(x) && length(x)) return(paste("a value of class", class(x)[[1L]]))
  text <- gsub("\\s+", " ", paste(deparse(x, nlines = 2L), collapse = " "))
  if (nchar(text) > 60L) paste0(substr(text, 1L, 57L), "...") else text
}
