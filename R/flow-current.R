#' What a task knows of itself
#'
#' @param value Name of a field: `"flow_name"`, `"run_id"`, `"origin_run_id"`, `"step_name"`, `"task_id"`, `"pathspec"`,
#'   `"username"`, `"namespace"`, `"retry_count"`, `"tags"`, `"trigger"`, ..., and in a [project] `"project_name"`,
#'   `"branch_name"`, `"is_production"`, `"is_user_branch"`, `"project_flow_name"`. Without it, an object with all of
#'   them: `current()$run_id`.
#' @return The field. `NULL` outside a task, and for `"origin_run_id"` in a run that resumes none.
#' @examples
#' start <- function(self) {
#'   print(paste("run", current("run_id"), "of", current()$flow_name))
#' }
#' @export
current <- function(value) {
  if (missing(value)) return(structure(list(), class = "metaflow_current"))
  current_field(check_field(value))
}

# The run and the task are objects of R's client, whatever the namespace is.
current_field <- function(name) {
  if (!name %in% c("run", "task", "trigger")) return(call_core("current", name))
  pathspec <- call_core("current", "pathspec")
  if (is.null(pathspec)) return(NULL)
  if (name != "task") {
    run <- run_object(all_but_last(all_but_last(pathspec)))
    return(if (name == "trigger") trigger_of(run) else run)
  }
  open_object("task_client", list(pathspec), check = FALSE)
}

check_field <- function(name) {
  if (!is_string(name)) {
    stop_metaflow(
      paste0("current() takes the name of a field, such as \"run_id\", not ", show_value(name), "."),
      class = "metaflow_invalid_argument"
    )
  }
  name
}

#' @export
`$.metaflow_current` <- function(x, name) current_field(name)

#' @export
`[[.metaflow_current` <- function(x, i) current_field(check_field(i))

#' @export
names.metaflow_current <- function(x) call_core("current_names")

#' @export
.DollarNames.metaflow_current <- function(x, pattern = "") grep(pattern, names(x), value = TRUE)

#' @export
format.metaflow_current <- function(x, ...) {
  pathspec <- call_core("current", "pathspec")
  paste0("<current: ", if (is.null(pathspec)) "no task is running" else pathspec, ">")
}

#' @export
print.metaflow_current <- function(x, ...) {
  cli::cat_line(format(x))
  invisible(x)
}

#' @export
str.metaflow_current <- function(object, ...) cat("", format(object), "\n")
