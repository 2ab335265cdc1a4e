#' @include client-generator.R
NULL

task_members <- list(
  successful = function(x) field(x, "successful"),
  finished = function(x) field(x, "finished"),
  status = function(x) field(x, "status"),
  exception = function(x) as_exception(field(x, "exception")),
  index = function(x) field(x, "index"),
  current_attempt = function(x) field(x, "current_attempt"),
  artifacts = function(x) artifacts_of(x),
  artifact = function(x) function(name) load_artifact(x, name),
  diff = function(x) function(other, full = FALSE) diff_of(x, other, full),
  data = function(x) new_data(x),
  metadata = function(x) call_core("client_facts", x),
  metadata_dict = function(x) field(x, "metadata_dict"),
  runtime_name = function(x) field(x, "runtime_name"),
  stdout = function(x) field(x, "stdout"),
  stderr = function(x) field(x, "stderr"),
  loglines = function(x) function(stream = "stdout") call_core("client_log", x, stream),
  code = function(x) code_of(x),
  parent_tasks = function(x) object_list(x, field(x, "parent_tasks"), "task_client", paste("tasks that lead to", x)),
  child_tasks = function(x) object_list(x, field(x, "child_tasks"), "task_client", paste("tasks that follow", x)),
  at_attempt = function(x) {
    function(attempt) {
      attempt <- as_attempt(attempt)
      call_core("client_at_attempt", x, attempt)
      new_object(as.character(x), attr(x, "scope"), attempt)
    }
  }
)

artifacts_of <- function(task) {
  child_list(task, call_core("client_artifact_names", task), "artifact", paste("artifacts of", task))
}

load_artifact <- function(task, name, columns = NULL) {
  if (inherits(name, "artifact")) name <- name$id
  if (!is.null(columns) && (!is.character(columns) || anyNA(columns))) {
    stop_metaflow(
      paste0("select() takes names of columns, such as select(\"date\", \"price\"), not ", show_value(columns), "."),
      class = "metaflow_invalid_argument"
    )
  }
  call_core("client_load", task, check_name(name), columns)
}

# What ended a task, as a condition: conditionMessage() and stop() take it.
as_exception <- function(facts) {
  if (is.null(facts)) return(NULL)
  structure(
    class = c("metaflow_task_error", "error", "condition"),
    list(
      message = facts$exception, call = NULL, type = facts$type, exception = facts$exception, stacktrace = facts$stacktrace
    )
  )
}

#' @export
print.metaflow_task_error <- function(x, ...) {
  cli::cat_line(if (nzchar(x$stacktrace)) x$stacktrace else paste0(x$type, ": ", x$exception))
  invisible(x)
}

#' Results of a task
#'
#' `task_client$new("HelloFlow/5/start/1")` is a task of a step; so is `task_client$new(step, "1")`. It shows the latest
#' attempt, or the one that `attempt` chooses.
#'
#' @section Fields:
#' - `id`, `pathspec`, `path_components`, `parent` (the [step][step_client]).
#' - `data`: the artifacts, as in `task$data$model`; each is read when it is used.
#' - `artifacts`: the same as a list of [artifact] objects, none of which is read.
#' - `status`: `"running"`, `"done"`, `"caught"` (it failed, and the flow went on) or `"failed"`.
#' - `successful`: whether its code ran to the end. `finished`: whether the flow could go on from it.
#' - `exception`: the error that ended the attempt, a condition with `type`, `exception` (its message) and `stacktrace`,
#'   or `NULL`.
#' - `stdout`, `stderr`: what it wrote, as one text.
#' - `index`: its place in the innermost foreach, from 0; `NULL` outside of a foreach.
#' - `current_attempt`: the number of the attempt, from 0.
#' - `metadata`: facts that are no artifacts, as a data frame; `metadata_dict` is the same as a list by name.
#' - `runtime_name`: what ran it: `"dev"`, or the name of an orchestrator.
#' - `created_at`, `finished_at`, `origin_pathspec`, `tags`, `user_tags`, `system_tags`, `code`: as of a
#'   [run][run_client].
#' - `parent_tasks`, `child_tasks`: lists of the tasks that led here and of those that followed.
#'
#' @section Methods:
#' - `artifact(name)`: the value of an artifact.
#' - `diff(other, full = FALSE)`: how the artifacts of another task differ. See [lineage].
#' - `loglines(stream = "stdout")`: a data frame with the lines of `"stdout"` or `"stderr"`: `time` and `line`.
#' - `at_attempt(attempt)`: the same task, showing another attempt; 0 is the first.
#' - `is_in_namespace()`, `summary()`.
#'
#' @param ... A pathspec; or a step and the id of a task.
#' @param attempt The number of an attempt, from 0. By default the latest one.
#' @return An object of class `task_client`, which prints as its pathspec and is a text too.
#' @examples
#' \donttest{
#' old <- setwd(tempdir()) # where the results of the examples lie
#' flow <- metaflow("PredictionFlow") |>
#'   step(step = "start", r_function = function(self) self$model <- lm(mpg ~ wt, mtcars), next_step = "end") |>
#'   step(step = "end")
#' run(flow, tag = "crazy_test")
#'
#' task <- task_client$new("PredictionFlow/1/start/1")
#' task$data$model
#' cat(task$stdout)
#' task_client$new("PredictionFlow/1/start/1", attempt = 0)$exception
#' setwd(old)
#' }
#' @name task_client
#' @export
task_client <- generator("task_client", function(..., attempt = NULL) open_object("task_client", list(...), attempt))

#' @rdname task_client
#' @export
new_task <- function(..., attempt = NULL) task_client$new(..., attempt = attempt)

#' @export
summary.task_client <- function(object, ...) {
  error <- object$exception
  artifacts <- as.data.frame(object$artifacts)
  show_summary(object, list(
    status = object$status,
    attempt = object$current_attempt,
    index = object$index,
    created = object$created_at,
    finished = object$finished_at,
    error = if (!is.null(error)) paste0(error$type, ": ", error$exception),
    artifacts = if (nrow(artifacts)) paste0(artifacts$id, " (", artifacts$type, ")")
  ))
}
