#' @include client-generator.R
NULL

step_members <- list(
  tasks = function(x) child_list(x, call_core("client_children", x, NULL), "task_client", paste("tasks of", x)),
  a_task = function(x) related(x, field(x, "task")),
  task = function(x) function(id) child(x, id),
  parent_steps = function(x) object_list(x, field(x, "parent_steps"), "step_client", paste("steps that lead to", x)),
  child_steps = function(x) object_list(x, field(x, "child_steps"), "step_client", paste("steps that follow", x)),
  environment_info = function(x) field(x, "environment_info"),
  diff = function(x) function(other, full = FALSE) diff_of(x, other, full)
)

#' Results of a step
#'
#' `step_client$new("HelloFlow/5/start")` is a step of a run; so is `step_client$new(run, "start")`.
#'
#' @section Fields:
#' - `id`, `pathspec`, `path_components`, `parent` (the [run][run_client]).
#' - `tasks`: a list of [tasks][task_client] by id, the newest first.
#' - `a_task`: the newest task: the only one, unless the step is in a foreach.
#' - `created_at`, `finished_at`: when the first task was created, when the last one ended (`NULL` while one runs).
#' - `parent_steps`, `child_steps`: lists of the steps that led here and of those that followed in this run.
#' - `environment_info`: the step's language, and the versions with which the run was made.
#' - `tags`, `user_tags`, `system_tags`: those of the run.
#' - `origin_pathspec`: the step of another run from which its tasks were taken over, or `NULL`.
#'
#' @section Methods:
#' - `task(id)`: one task.
#' - `diff(other)`: how the same step of another run differs; both must have one task. See [lineage].
#' - `is_in_namespace()`, `summary()`.
#'
#' @param ... A pathspec; or a run and the name of a step.
#' @return An object of class `step_client`, which prints as its pathspec and is a text too.
#' @examples
#' \donttest{
#' old <- setwd(tempdir()) # where the results of the examples lie
#' flow <- metaflow("PredictionFlow") |>
#'   step(step = "start", r_function = function(self) self$model <- lm(mpg ~ wt, mtcars), next_step = "end") |>
#'   step(step = "end")
#' run(flow, tag = "crazy_test")
#'
#' step <- step_client$new("PredictionFlow/1/start")
#' as.data.frame(step$tasks)
#' step$a_task$data$model
#' setwd(old)
#' }
#' @name step_client
#' @export
step_client <- generator("step_client", function(...) open_object("step_client", list(...)))

#' @rdname step_client
#' @export
new_step <- function(...) step_client$new(...)

#' @export
summary.step_client <- function(object, ...) {
  show_summary(object, list(
    tasks = length(object$tasks),
    created = object$created_at,
    finished = object$finished_at,
    language = object$environment_info$language
  ))
}
