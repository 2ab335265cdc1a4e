#' @include client-generator.R
NULL

run_members <- list(
  finished = function(x) field(x, "finished"),
  successful = function(x) field(x, "successful"),
  status = function(x) field(x, "status"),
  end_task = function(x) related(x, field(x, "end_task")),
  steps = function(x) child_list(x, call_core("client_children", x, NULL), "step_client", paste("steps of", x)),
  step = function(x) function(name) child(x, name),
  artifacts = function(x) {
    task <- related(x, field(x, "end_task"))
    if (is.null(task)) new_list(list(), "artifact", paste("artifacts of", x, "before its end")) else artifacts_of(task)
  },
  artifact = function(x) function(name) load_artifact(end_task_of(x), name),
  data = function(x) new_data(x),
  code = function(x) code_of(x),
  trigger = function(x) trigger_of(x),
  tag_history = function(x) call_core("client_tag_history", x),
  inputs = function(x) call_core("client_inputs", x),
  consumers = function(x) call_core("client_consumers", x),
  source = function(x) call_core("client_source", x),
  environment = function(x) call_core("client_environment", x),
  diff = function(x) function(other, full = FALSE) diff_of(x, other, full),
  add_tag = function(x) function(tag) change_tags(x, add = one_tag(tag)),
  add_tags = function(x) function(...) change_tags(x, add = tag_texts(...)),
  remove_tag = function(x) function(tag) change_tags(x, remove = one_tag(tag)),
  remove_tags = function(x) function(...) change_tags(x, remove = tag_texts(...)),
  replace_tag = function(x) {
    function(tag_to_remove, tag_to_add) change_tags(x, remove = one_tag(tag_to_remove), add = one_tag(tag_to_add))
  },
  replace_tags = function(x) {
    function(tags_to_remove, tags_to_add) change_tags(x, remove = tag_texts(tags_to_remove), add = tag_texts(tags_to_add))
  }
)

end_task_of <- function(x) {
  task <- related(x, field(x, "end_task"))
  if (is.null(task)) {
    stop_metaflow(
      paste0(
        "MetaflowNotFound: the run ", x, " (", field(x, "status"), ") has not reached its end, where its artifacts are. ",
        "Those of a step: run$step(\"start\")$a_task$data."
      ),
      class = "metaflow_not_found"
    )
  }
  task
}

# A run that this session has made is its own, whatever the namespace.
run_object <- function(pathspec) open_object("run_client", list(pathspec), check = FALSE)

#' Results of a run
#'
#' `run_client$new("HelloFlow/5")` is a run; so are `run_client$new("HelloFlow", 5)` and `run_client$new(flow, id)`. A run
#' outside of the current [namespace][set_namespace] is the error `metaflow_namespace_mismatch`, which says how to switch.
#'
#' A run prints as its pathspec. It can be given wherever the id of a run can, and compared with an id or a pathspec:
#' `run == "5"`, `run == "HelloFlow/5"`. Compared with 0 it is `TRUE` when the run succeeded, as the exit status of a
#' command would be.
#'
#' @section Fields:
#' - `id`, `pathspec`, `path_components`: `"5"`, `"HelloFlow/5"`, `c("HelloFlow", "5")`.
#' - `parent`: the [flow][flow_client].
#' - `status`: `"running"`, `"completed"`, `"failed"`, `"interrupted"`, or `"lost"` when its process was killed.
#' - `successful`, `finished`: whether the run has reached its end.
#' - `created_at`, `finished_at`: when it started and when it ended in whatever way (`NULL` until then), in UTC.
#' - `data`: the artifacts of the last step, as in `run$data$model`; each is read when it is used.
#' - `artifacts`: the same as a list of [artifact] objects, none of which is read.
#' - `end_task`: the [task][task_client] of the last step, or `NULL` while it has not finished.
#' - `steps`: a list of [steps][step_client] by name, the newest first.
#' - `tags`: all tags as they are now; `user_tags` are those that people gave, `system_tags` those that every run gets.
#' - `tag_history`: a data frame with every change of the tags: `tag`, `action`, `identity`, `at`.
#' - `inputs`: a data frame with every artifact of another run that its tasks have read through the client: `artifact`,
#'   `run` (whose it is), `step` and `task` (who read it), and `at` (when first). See the [page about it][lineage].
#' - `consumers`: the same, of tasks of other runs that have read artifacts of this one; `run` is theirs.
#' - `source`: the text of the script and of the files that its steps name, as a named character vector.
#' - `environment`: with what it ran, a list of `platform`, `versions` and, by language, `packages`; `NULL` when it was not
#'   recorded.
#' - `origin_pathspec`: the run that this one resumes, or `NULL`.
#' - `code`: the code as it was when the run started. See the [page about it][run_code].
#' - `trigger`: the events that started it, see [trigger]; `NULL` when it was a person or a schedule.
#'
#' @section Methods:
#' - `step(name)`: one step.
#' - `artifact(name)`: the value of an artifact of the last step.
#' - `diff(other, full = FALSE)`: how another run differs from this one: parameters, artifacts, tags, environment, graph and
#'   code. `other` is a run, a pathspec, or the id of a run of the same flow. See the [page about it][lineage].
#' - `add_tags(...)`, `remove_tags(...)`, `replace_tags(tags_to_remove, tags_to_add)`: change the tags in one step, or not
#'   at all and with the error `metaflow_tagging_error`. They take texts and vectors of texts, and return the run.
#' - `add_tag(tag)`, `remove_tag(tag)`, `replace_tag(tag_to_remove, tag_to_add)`: the same for one tag.
#' - `is_in_namespace()`: whether the run is in the namespace of now.
#' - `summary()`: shows the run.
#'
#' @param ... A pathspec; or a flow (name or object) and an id. Instead of the id, `"latest_run"` or
#'   `"latest_successful_run"`.
#' @return An object of class `run_client`, which is a text too.
#' @examples
#' \donttest{
#' old <- setwd(tempdir()) # where the results of the examples lie
#' flow <- metaflow("PredictionFlow") |>
#'   step(step = "start", r_function = function(self) self$model <- lm(mpg ~ wt, mtcars), next_step = "end") |>
#'   step(step = "end")
#' run(flow, tag = "crazy_test")
#'
#' run <- run_client$new("PredictionFlow/1")
#' run$data$model
#' run$add_tags("promising", "for_review")
#' run$tag_history
#'
#' flow <- flow_client$new("PredictionFlow")
#' run_client$new(flow, "latest_run")$summary()
#' setwd(old)
#' }
#' @name run_client
#' @export
run_client <- generator("run_client", function(...) {
  parts <- list(...)
  if (length(parts) == 2L && is_string(parts[[2L]]) && parts[[2L]] %in% c("latest_run", "latest_successful_run")) {
    return(named_run(open_object("flow_client", parts[1L]), parts[[2L]]))
  }
  open_object("run_client", parts)
})

#' @rdname run_client
#' @export
new_run <- function(...) run_client$new(...)

#' @export
summary.run_client <- function(object, ...) {
  finished <- object$finished_at
  steps <- as.data.frame(object$steps)
  counted <- if (nrow(steps)) paste0(rev(steps$id), ifelse(rev(steps$tasks) == 1L, "", paste0(" (", rev(steps$tasks), " tasks)")))
  show_summary(object, list(
    status = object$status,
    created = object$created_at,
    finished = finished,
    took = if (!is.null(finished)) format(round(finished - object$created_at, 1L)),
    resumes = object$origin_pathspec,
    steps = counted,
    tags = object$user_tags,
    "system tags" = object$system_tags
  ))
}
