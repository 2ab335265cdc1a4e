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

function_text <- function(f) paste(deparse(f, control = c("keepInteger", "keepNA", "useSource")), collapse = "\n")
