# The arguments of run() and runner() as words of the command line: those before the command, the command, and those after
# it. Python knows the commands and their options. `parameters` are those of the flow, where it is known; `command` is the
# one of runner(), "" for what stands before it. With `open` there may be more parameters, which mutators add.
words_of <- function(given, where, parameters = NULL, command = NULL, open = FALSE) {
  invalid <- "metaflow_invalid_argument"
  names <- if (is.null(names(given))) rep("", length(given)) else names(given)
  if (!all(nzchar(names))) {
    first <- given[[match("", names)]]
    stop_metaflow(paste0(where, " takes its arguments by name. It was given ", show_value(first), "."), class = invalid)
  }
  given <- lapply(rlang::set_names(unique(names)), function(name) {
    values <- lapply(unname(given[names == name]), function(value) argument_value(name, value, where))
    if (length(values) == 1L) values[[1L]] else do.call(c, values) # as in tag = "a", tag = "b"
  })
  given <- given[!vapply(given, is.null, TRUE)]
  if (!length(given)) return(list(before = character(), command = if (is.null(command)) "run" else command, after = character()))
  separators <- vapply(parameters, function(p) if (is.null(p$separator)) "" else p$separator, "")
  words <- call_core("words", names_of(parameters), separators, command, open, names(given), unname(given))
  if (!is.null(words$unknown)) stop_metaflow(unknown_argument(where, words$unknown, words$known), class = invalid)
  if (!is.null(words$problem)) stop_metaflow(paste0(where, ": ", sub("^[A-Za-z]*Error: ", "", words$problem)), class = invalid)
  lapply(words, as.character)
}

# What Python gets. NULL is left out, but for the namespace, where it is the global one.
argument_value <- function(name, value, where) {
  if (is.null(value)) return(if (name == "namespace") "")
  if (inherits(value, c("run_client", "task_client"))) return(if (name == "origin_run_id") value$id else value$pathspec)
  if (name %in% c("config", "config_value")) return(config_argument(name, value, where))
  if (length(value) && is.atomic(value) && anyNA(value)) {
    stop_metaflow(paste0(where, ": `", name, "` is NA. Leave it out, or give it a value."), class = "metaflow_invalid_argument")
  }
  if (is.atomic(value) && is.object(value)) value <- as.character(value) # a factor, a date
  value
}
