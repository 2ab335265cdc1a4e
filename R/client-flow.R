#' @include client-generator.R
NULL

flow_members <- list(
  id = function(x) as.character(x),
  latest_run = function(x) related(x, field(x, "latest_run")),
  latest_successful_run = function(x) related(x, field(x, "latest_successful_run")),
  runs = function(x) runs_of(x, character()),
  run = function(x) function(id) named_run(x, id),
  runs_with_tags = function(x) function(...) runs_of(x, tag_texts(...)),
  search = function(x) searching(function() attr(x, "scope"), as.character(x))
)

runs_of <- function(x, tags) {
  where <- attr(x, "scope")[-1L]
  about <- paste0(
    "runs of ", x,
    if (length(tags)) paste0(" with ", paste0("\"", tags, "\"", collapse = " and ")),
    if (length(where)) paste0(" in the namespace \"", where, "\"")
  )
  child_list(x, call_core("client_children", x, tags), "run_client", about)
}

# A run by its id, or by what it is to the flow.
named_run <- function(flow, id) {
  if (!is_string(id) || inherits(id, "metaflow_object") || !id %in% c("latest_run", "latest_successful_run")) return(child(flow, id))
  run <- related(flow, field(flow, id))
  if (is.null(run)) {
    stop_metaflow(paste0("MetaflowNotFound: the flow ", flow, " has no ", gsub("_", " ", id), " in the namespace."),
      class = "metaflow_not_found"
    )
  }
  run
}

#' Results of a flow
#'
#' `flow_client$new("HelloFlow")` is a flow, with the runs of it that are in the current [namespace][set_namespace].
#'
#' It prints as the flow's name. When no run of the flow is in the namespace, the error `metaflow_namespace_mismatch` says
#' how to look elsewhere; the error `metaflow_not_found` says that there is no flow of this name.
#'
#' @section Fields:
#' - `id`, `pathspec`: the name of the flow.
#' - `latest_run`: the [run][run_client] in the namespace that started last, or `NULL`.
#' - `latest_successful_run`: the one that started last among those that succeeded, or `NULL`.
#' - `runs`: a list of the runs in the namespace, the newest first; see [as.data.frame.metaflow_list()].
#' - `created_at`: when the first run of the flow started. `finished_at`: when the latest run in the namespace ended, or
#'   `NULL`. Both are `POSIXct` in UTC.
#' - `tags`, `user_tags`, `system_tags`: empty, since it is runs that have tags.
#'
#' @section Methods:
#' - `run(id)`: one run, by its id (text or number), its pathspec, a run object, `"latest_run"` or
#'   `"latest_successful_run"`. A run of another namespace is the error `metaflow_namespace_mismatch`.
#' - `runs_with_tags(...)`: a list of the runs that have all of these tags and are in the namespace, the newest first.
#' - `search("accuracy > 0.9", tags = "candidate", ...)`: runs by values, tags, status, user and time; see [search_runs].
#' - `is_in_namespace()`: whether a run of the flow is in the namespace of now.
#' - `summary()`: shows the flow.
#'
#' @param flow The name of a flow, or an object of the client that is one.
#' @return An object of class `flow_client`. It is a text too: `paste()`, `==` and functions that want a text take it.
#' @examples
#' \donttest{
#' old <- setwd(tempdir()) # where the results of the examples lie
#' flow <- metaflow("PredictionFlow") |>
#'   step(step = "start", r_function = function(self) self$model <- lm(mpg ~ wt, mtcars), next_step = "end") |>
#'   step(step = "end")
#' run(flow, tag = "crazy_test")
#'
#' flow <- flow_client$new("PredictionFlow")
#' flow$latest_run
#' flow$run("1")
#' flow$runs_with_tags("crazy_test")[[1]]
#' as.data.frame(flow$runs)
#' setwd(old)
#' }
#' @name flow_client
#' @export
flow_client <- generator("flow_client", function(flow) open_object("flow_client", if (missing(flow)) list() else list(flow)))

#' @rdname flow_client
#' @export
new_flow <- function(flow) flow_client$new(flow)

#' @export
summary.flow_client <- function(object, ...) {
  runs <- object$runs
  where <- attr(object, "scope")[-1L]
  show_summary(object, list(
    namespace = if (length(where)) where else "global",
    runs = length(runs),
    "latest run" = object$latest_run,
    "latest successful run" = object$latest_successful_run,
    created = object$created_at
  ))
}
