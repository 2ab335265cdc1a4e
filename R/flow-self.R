# `self` in a step. What was read or set is kept here, so that a loop over `self$x` does not cross to Python each time;
# at the end of the step Python gets what changed last.

new_self <- function() {
  self <- new.env(parent = emptyenv())
  self$.values <- new.env(parent = emptyenv()) # what was read or set
  self$.set <- new.env(parent = emptyenv()) # names that this step has set: TRUE when Python has an older value
  class(self) <- "metaflow_self"
  self
}

absent <- new.env()

self_get <- function(self, name) {
  values <- .subset2(self, ".values")
  value <- get0(name, envir = values, inherits = FALSE, ifnotfound = absent)
  if (!identical(value, absent)) return(value)
  value <- switch(name,
    input = call_core("input"),
    index = call_core("index"),
    call_core("get", name)
  )
  assign(name, value, envir = values)
  value
}

self_set <- function(self, name, value) {
  if (inherits(value, "metaflow_self")) {
    stop_metaflow(
      paste0("self$", name, " can't be `self`: that is the task, and no value. Set it to the artifacts that you need."),
      class = "metaflow_unserializable_value"
    )
  }
  set <- .subset2(self, ".set")
  if (exists(name, envir = set, inherits = FALSE)) {
    assign(name, TRUE, envir = set)
  } else {
    if (name %in% c("input", "index", "foreach_stack", "merge_artifacts", "next")) {
      stop_metaflow(
        paste0("AttributeError: self$", name, " can't be set: the name has a meaning of its own. Choose another name."),
        class = "metaflow_attribute_error"
      )
    }
    call_core("set", name, value)
    assign(name, FALSE, envir = set)
  }
  assign(name, value, envir = .subset2(self, ".values"))
  invisible(self)
}

# What Python does not have yet.
changed_values <- function(self) {
  set <- .subset2(self, ".set")
  names <- Filter(function(name) get(name, envir = set), ls(set, all.names = TRUE))
  mget(names, envir = .subset2(self, ".values"))
}

check_name <- function(name) {
  if (!is_string(name) || !nzchar(name)) {
    stop_metaflow(paste0("An artifact is named by one text, not by ", show_value(name), "."), class = "metaflow_invalid_argument")
  }
  name
}

#' @export
`$.metaflow_self` <- function(x, name) self_get(x, name)

#' @export
`[[.metaflow_self` <- function(x, i) self_get(x, check_name(i))

#' @export
`$<-.metaflow_self` <- function(x, name, value) self_set(x, name, value)

#' @export
`[[<-.metaflow_self` <- function(x, i, value) self_set(x, check_name(i), value)

#' @export
names.metaflow_self <- function(x) call_core("names")

#' @export
.DollarNames.metaflow_self <- function(x, pattern = "") {
  grep(pattern, c(names(x), "input", "index"), value = TRUE)
}

#' @export
length.metaflow_self <- function(x) length(names(x))

#' @export
`[.metaflow_self` <- function(x, i) {
  stop_metaflow(
    "One artifact is self$x or self[[\"x\"]]; several are as.list(self)[c(\"x\", \"y\")].",
    class = "metaflow_invalid_argument"
  )
}

#' @export
`[<-.metaflow_self` <- function(x, i, value) `[.metaflow_self`(x, i)

#' @export
as.list.metaflow_self <- function(x, ...) artifacts_as_list(x)

#' @export
format.metaflow_self <- function(x, ...) paste0("<self of ", current("pathspec"), ": ", paste(names(x), collapse = ", "), ">")

#' @export
print.metaflow_self <- function(x, ...) {
  cli::cat_line(format(x))
  invisible(x)
}

#' @export
str.metaflow_self <- function(object, ...) cat("", format(object), "\n")

#' Delete an artifact of a step
#'
#' @param self The first argument of a step's function.
#' @param name Name of an artifact. Steps that follow do not see it.
#' @return `self`, invisibly.
#' @examples
#' tidy <- function(self) {
#'   delete_artifact(self, "raw_data")
#' }
#' @export
delete_artifact <- function(self, name) {
  call_core("delete", check_name(name))
  for (part in c(".values", ".set")) {
    where <- .subset2(self, part)
    if (exists(name, envir = where, inherits = FALSE)) rm(list = name, envir = where)
  }
  invisible(self)
}

#' The foreaches around a task
#'
#' @param self The first argument of a step's function.
#' @return A list with one list per foreach, the outermost first: its index from 0, its number of tasks, its element.
#' @examples
#' fit <- function(self) {
#'   outermost <- foreach_stack(self)[[1]]
#'   cat("task", outermost[[1]] + 1, "of", outermost[[2]], "for", outermost[[3]])
#' }
#' @export
foreach_stack <- function(self) {
  call_core("foreach_stack")
}
