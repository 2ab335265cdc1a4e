# What a run records of the session it starts in: the loaded packages but those that come with R, and functions that are
# in no file.

loaded_packages <- function() {
  names <- sort(setdiff(loadedNamespaces(), packages_of_r))
  vapply(names, function(name) as.character(getNamespaceVersion(name)), "")
}

packages_of_r <- c(
  "base", "compiler", "datasets", "graphics", "grDevices", "grid", "methods", "parallel", "splines", "stats", "stats4",
  "tcltk", "tools", "utils"
)

# The text of a function that `file`, the script, does not define: it was typed in a session, or comes from another file.
# "" for any other. A function does not tell where it comes from, so it is looked for.
function_text <- function(f, file) {
  if (!is.function(f) || is.primitive(f)) return("")
  plain <- utils::removeSource(f)
  defined <- if (is.na(file)) list() else functions_in_script(file)
  here <- vapply(defined, function(e) identical(e[[3L]], body(plain)) && identical(as.list(e[[2L]]), as.list(formals(plain))), NA)
  if (any(here)) "" else paste(deparse(f, control = c("keepInteger", "keepNA", "useSource")), collapse = "\n")
}

functions_in_script <- function(file) {
  expressions <- tryCatch(parse(file, keep.source = FALSE, encoding = "UTF-8"), error = function(e) NULL)
  found <- list()
  walk <- function(e) {
    if (!is.call(e)) return()
    if (identical(e[[1L]], quote(`function`))) found[[length(found) + 1L]] <<- e
    for (part in as.list(e)) if (!missing(part)) walk(part)
  }
  for (expression in as.list(expressions)) walk(expression)
  found
}
