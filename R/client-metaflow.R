#' @include client-generator.R
NULL

#' Everything that is known here
#'
#' `mf_client$new()` is the root of all results: its flows are those that have a run in the current
#' [namespace][set_namespace].
#'
#' @section Fields and methods:
#' - `flows`: a list of the [flows][flow_client] by name, the newest first.
#' - `flow(name)`: one flow.
#' - `search(...)`: runs of every flow; see [search_runs].
#' - `summary()`: shows the flows.
#'
#' @return `mf_client$new()` is an object of class `mf_client`. `list_flows()` is a character vector with the names of
#'   the flows.
#' @examples
#' \donttest{
#' old <- setwd(tempdir()) # where the results of the examples lie
#' flow <- metaflow("PredictionFlow") |>
#'   step(step = "start", r_function = function(self) self$model <- lm(mpg ~ wt, mtcars), next_step = "end") |>
#'   step(step = "end")
#' run(flow, tag = "crazy_test")
#'
#' list_flows()
#' mf_client$new()$flow("PredictionFlow")$latest_run
#' setwd(old)
#' }
#' @name mf_client
#' @export
mf_client <- generator("mf_client", function() structure(list(), class = "mf_client"))

#' @rdname mf_client
#' @export
list_flows <- function() {
  sync_environment()
  as.vector(call_core("client_flows"))
}

mf_members <- list(
  flows = function(x) {
    sync_environment()
    names <- call_core("client_flows")
    scope <- attr(names, "scope")
    flows <- lapply(as.vector(names), new_object, scope)
    names(flows) <- names
    new_list(flows, "flow_client", paste0("flows", if (length(scope) > 1L) paste0(" in the namespace \"", scope[[2L]], "\"")))
  },
  flow = function(x) function(name) flow_client$new(name),
  search = function(x) {
    sync_environment()
    searching(character, "")
  },
  summary = function(x) function() print(x)
)

#' @export
`$.mf_client` <- function(x, name) {
  member <- .subset2(mf_members, name)
  if (is.null(member)) no_member(x, name, names(mf_members))
  member(x)
}

#' @export
.DollarNames.mf_client <- function(x, pattern = "") grep(pattern, names(mf_members), value = TRUE)

#' @export
print.mf_client <- function(x, ...) {
  print(x$flows)
  invisible(x)
}
