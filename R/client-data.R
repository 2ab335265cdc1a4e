# The artifacts of a task by name, each read once, when it is first used. Those of a run are those of its last task.

new_data <- function(owner) {
  data <- new.env(parent = emptyenv())
  data$.owner <- owner
  data$.values <- new.env(parent = emptyenv())
  class(data) <- "metaflow_data"
  data
}

task_of <- function(data) {
  owner <- .subset2(data, ".owner")
  if (inherits(owner, "run_client")) {
    owner <- end_task_of(owner)
    assign(".owner", owner, envir = data)
  }
  owner
}

data_get <- function(data, name) {
  values <- .subset2(data, ".values")
  value <- get0(name, envir = values, inherits = FALSE, ifnotfound = absent)
  if (identical(value, absent)) {
    value <- load_artifact(task_of(data), name)
    assign(name, value, envir = values)
  }
  value
}

#' @export
`$.metaflow_data` <- function(x, name) data_get(x, name)

#' @export
`[[.metaflow_data` <- function(x, i) data_get(x, check_name(i))

#' @export
`$<-.metaflow_data` <- function(x, name, value) `$<-.metaflow_object`(x, name, value)

#' @export
`[[<-.metaflow_data` <- function(x, i, value) `$<-.metaflow_object`(x, i, value)

#' @export
names.metaflow_data <- function(x) call_core("client_artifact_names", task_of(x))

#' @export
length.metaflow_data <- function(x) length(names(x))

#' @export
as.list.metaflow_data <- function(x, ...) {
  names <- names(x)
  values <- lapply(names, function(name) data_get(x, name))
  names(values) <- names
  values
}

#' @export
.DollarNames.metaflow_data <- function(x, pattern = "") grep(pattern, names(x), value = TRUE)

#' @export
str.metaflow_data <- function(object, ...) cat(" <artifacts of ", .subset2(object, ".owner"), ">\n", sep = "")

#' @export
print.metaflow_data <- function(x, ...) {
  cli::cat_line("<artifacts of ", task_of(x), ": ", paste(names(x), collapse = ", "), ">")
  invisible(x)
}
