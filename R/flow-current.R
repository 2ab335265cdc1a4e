#' What a task knows of itself
#'
#' @param value Name of a field: `"flow_name"`, `"run_id"`, `"origin_run_id"`, `"step_name"`, `"task_id"`, `"pathspec"`,
#'   `"username"`, `"namespace"`, `"retry_count"`, `"tags"`, ... Without it, an object with all of them: `current()$run_id`.
#' @return The field. `NULL` outside a task, and for `"origin_run_id"` in a run that resumes none.
#' @examples
#' \dontrun{
#' start <- function(self) {
#'   print(paste("run", current("run_id"), "of", current()$flow_name))
#' }
#' }
#' @export
current <- function(value) {
  if (missing(value)) return(structure(list(), class = "metaflow_current"))
  call_core("current", check_name(value))
}

#' @export
`$.metaflow_current` <- function(x, name) call_core("current", name)

#' @export
`[[.metaflow_current` <- function(x, i) call_core("current", check_name(i))

#' @export
names.metaflow_current <- function(x) call_core("current_names")

#' @export
.DollarNames.metaflow_current <- function(x, pattern = "") grep(pattern, names(x), value = TRUE)

#' @export
print.metaflow_current <- function(x, ...) {
  pathspec <- call_core("current", "pathspec")
  cat("<current: ", if (is.null(pathspec)) "no task is running" else pathspec, ">\n", sep = "")
  invisible(x)
}
