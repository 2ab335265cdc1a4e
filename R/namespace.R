#' Namespaces
#'
#' The client sees the runs that are in the current namespace, which is nothing but a tag. By default it is you:
#' `"user:<name>"`, or `"production:<token>"` in a production deployment.
#'
#' `flow$latest_run`, `flow$runs` and the like see only runs in the namespace; asking for a particular run outside of it is
#' the error `metaflow_namespace_mismatch`. Namespaces keep results in order, they do not protect them: anybody can switch.
#' Objects that exist already keep the namespace in which they were made.
#'
#' @param ns A tag, such as `"user:will"`, `"production:<token>"` or `"xyz_features"`. `NULL` is the global namespace,
#'   which has every run.
#' @return The namespace from now on, `NULL` for the global one; invisibly by those that change it.
#' @examples
#' \donttest{
#' old <- setwd(tempdir()) # where the results of the examples lie
#' flow <- metaflow("PredictionFlow") |>
#'   step(step = "start", r_function = function(self) self$model <- lm(mpg ~ wt, mtcars), next_step = "end") |>
#'   step(step = "end")
#' run(flow, tag = "crazy_test")
#'
#' set_namespace("crazy_test")
#' flow_client$new("PredictionFlow")$latest_run
#'
#' set_namespace(NULL)
#' flow_client$new("PredictionFlow")$run("1")
#'
#' set_namespace("user:will")
#' try(flow_client$new("PredictionFlow")$run("1"))
#'
#' set_default_namespace()
#' setwd(old)
#' }
#' @export
set_namespace <- function(ns) {
  if (missing(ns)) {
    stop_metaflow("set_namespace() needs a namespace. NULL is the global one; set_default_namespace() goes back to yours.")
  }
  if (!is.null(ns) && (!is_string(ns) || !nzchar(ns))) {
    stop_metaflow(paste0("A namespace is a tag, one text, or NULL for the global namespace, not ", show_value(ns), "."))
  }
  invisible(call_core("namespace", ns))
}

#' @rdname set_namespace
#' @export
get_namespace <- function() {
  sync_environment()
  call_core("get_namespace")
}

#' @rdname set_namespace
#' @export
set_default_namespace <- function() {
  sync_environment()
  invisible(call_core("default_namespace"))
}

#' List the namespaces
#'
#' Which tags there are to be used as a namespace, in [set_namespace()] or with `--namespace`.
#'
#' @param flow Name of a flow. By default the namespaces of all flows are listed.
#' @param system Whether to list the tags that every run gets by itself, too, such as `"date:2026-01-31"`.
#' @return A data frame with a row per namespace, those of users and deployments first: `namespace`, `runs` (how many),
#'   `since` and `latest` (when the first and the last of them started), and `owners`, a list of those who ran them.
#' @examples
#' \donttest{
#' old <- setwd(tempdir()) # where the results of the examples lie
#' flow <- metaflow("PredictionFlow") |>
#'   step(step = "start", r_function = function(self) self$model <- lm(mpg ~ wt, mtcars), next_step = "end") |>
#'   step(step = "end")
#' run(flow, tag = "crazy_test")
#'
#' list_namespaces("PredictionFlow")
#' setwd(old)
#' }
#' @export
list_namespaces <- function(flow = NULL, system = FALSE) {
  sync_environment()
  call_core("list_namespaces", if (is.null(flow)) "" else id_text(flow), isTRUE(system))
}
