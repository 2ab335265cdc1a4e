#' @include client-generator.R
NULL

artifact_members <- list(
  parent = function(x) {
    new_object(all_but_last(x), attr(x, "scope"), attr(x, "attempt"))
  },
  data = function(x) load_artifact(artifact_members$parent(x), last_part(x)),
  select = function(x) function(...) load_artifact(artifact_members$parent(x), last_part(x), c(...)),
  size = function(x) field(x, "size"),
  sha = function(x) field(x, "sha"),
  type = function(x) field(x, "type"),
  language = function(x) field(x, "language")
)

#' An artifact of a task
#'
#' `artifact$new("HelloFlow/5/start/1/greeting")` is an artifact with all that is known of it. For its value alone,
#' `task$data$greeting` and `run$data$greeting` are shorter.
#'
#' @section Fields:
#' - `id`, `pathspec`, `path_components`, `parent` (the [task][task_client]).
#' - `data`: the value, as R has it, whichever language wrote it.
#' - `type`: the type of the value, as the language that wrote it calls it. `language`: `"r"` or `"python"`.
#' - `size`: bytes of the stored form. `sha`: names the stored bytes, so equal values have the same one.
#' - `created_at`, `finished_at`: when its task ended.
#' - `tags`, `user_tags`, `system_tags`, `origin_pathspec`: as of a [run][run_client].
#'
#' @section Methods:
#' - `select("date", "price")`: a data frame of these columns alone; the others are not read.
#' - `is_in_namespace()`, `summary()`.
#'
#' @param ... A pathspec; or a task and the name of an artifact.
#' @param attempt The number of the task's attempt, from 0. By default the latest one.
#' @return An object of class `artifact`, which prints as its pathspec and is a text too.
#' @examples
#' \donttest{
#' old <- setwd(tempdir()) # where the results of the examples lie
#' flow <- metaflow("PredictionFlow") |>
#'   step(step = "start", r_function = function(self) self$model <- lm(mpg ~ wt, mtcars), next_step = "end") |>
#'   step(step = "end")
#' run(flow, tag = "crazy_test")
#'
#' model <- flow_client$new("PredictionFlow")$latest_run$artifacts$model
#' model$type
#' model$data
#' setwd(old)
#' }
#' @name artifact
#' @export
artifact <- generator("artifact", function(..., attempt = NULL) open_object("artifact", list(...), attempt))

#' @export
summary.artifact <- function(object, ...) {
  show_summary(object, list(
    type = object$type,
    language = object$language,
    bytes = format(object$size, big.mark = ","),
    sha = object$sha
  ))
}
