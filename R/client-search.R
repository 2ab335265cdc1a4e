# `flow$search(...)`: the arguments, as texts, go to the core, which understands them and finds the runs.

searching <- function(scope, flow) {
  function(where = "", tags = NULL, any_tags = NULL, no_tags = NULL, status = NULL, user = NULL, since = NULL,
           until = NULL, namespace, order_by = "newest", limit = NULL, page = 1, after = NULL) {
    asked <- list(
      where = search_texts(where, "where", empty = TRUE),
      tags = tag_texts(tags),
      any_tags = tag_texts(any_tags),
      no_tags = tag_texts(no_tags),
      status = search_texts(status, "status"),
      user = search_texts(user, "user"),
      since = search_time(since, "since"),
      until = search_time(until, "until"),
      order_by = search_texts(order_by, "order_by"),
      limit = search_number(limit),
      page = search_number(page),
      after = if (!is.null(after)) id_text(after)
    )
    asked <- asked[lengths(asked) > 0L]
    # An empty vector is the global namespace; without an element it is that of the object.
    if (!missing(namespace)) asked["namespace"] <- list(if (is.null(namespace)) character() else search_texts(namespace, "namespace"))
    found <- call_core("client_search", scope(), flow, names(asked), unname(asked))
    pathspecs <- as.vector(found)
    names <- if (nzchar(flow)) last_part(pathspecs) else pathspecs
    runs <- objects_at(structure("", scope = attr(found, "scope")), pathspecs, "run_client", names)
    new_search(runs, attr(found, "about"), attr(found, "values"))
  }
}

new_search <- function(runs, about, values) {
  structure(new_list(runs, "run_client", about), class = c("metaflow_search", "metaflow_list", "list"), values = values)
}

search_texts <- function(x, name, empty = FALSE) {
  if (is.null(x)) return(NULL)
  if (!is.character(x) || anyNA(x) || !empty && !all(nzchar(x))) {
    stop_metaflow(paste0(name, " is text, not ", show_value(x), "."), class = "metaflow_invalid_search")
  }
  as.character(x)
}

search_time <- function(x, name) {
  if (length(x) == 1L && !is.na(x)) {
    if (inherits(x, "POSIXt")) return(format(as.POSIXct(x), "%Y-%m-%dT%H:%M:%OS6Z", tz = "UTC"))
    if (inherits(x, "Date")) return(format(x, "%Y-%m-%d"))
    if (inherits(x, "difftime")) return(paste0(format(as.numeric(x, units = "secs"), scientific = FALSE, digits = 15L), "s"))
  }
  search_texts(x, name)
}

# The core says which numbers will do.
search_number <- function(x) {
  if (is.numeric(x) && length(x) == 1L && !is.na(x)) {
    format(x, scientific = FALSE, trim = TRUE, digits = 15L)
  } else if (!is.null(x)) {
    show_value(x)
  }
}

#' @export
`[.metaflow_search` <- function(x, i) new_search(as.list(x)[i], attr(x, "about"), attr(x, "values"))

#' Search for runs
#'
#' `flow$search(...)` finds runs of a [flow][flow_client] by their values, tags, status, user and time;
#' `mf_client$new()$search(...)` finds those of every flow. The arguments are the same as in Python and on the command line
#' (`metaflow runs`).
#'
#' @section Usage:
#' ```
#' flow$search(where = "", tags = NULL, any_tags = NULL, no_tags = NULL, status = NULL, user = NULL,
#'   since = NULL, until = NULL, namespace, order_by = "newest", limit = NULL, page = 1, after = NULL)
#' ```
#'
#' @section Arguments:
#' - `where`: compares parameters and scalar artifacts, as in `"accuracy > 0.9 & (alpha == 0.5 | !debug)"`. There are
#'   `==`, `!=`, `<`, `<=`, `>`, `>=`, `%in% c(1, 2)`, `like "a%"`, `contains "a"` and `is null`. A comparison with what a
#'   run does not have is false. `status`, `user`, `tag`, `created_at`, `finished_at` and `duration` (seconds, or text
#'   such as `"5m"`) are those of any run; in back-quotes they are values.
#' - `tags`: runs that have all of these tags. `any_tags`: at least one of them. `no_tags`: none of them.
#' - `status`: one or several of `"running"`, `"completed"`, `"failed"`, `"interrupted"`, `"lost"`. `user`: names.
#' - `since`, `until`: when the run started: a `Date` (all of the day counts), a `POSIXct`, the same as text, or how long
#'   ago, as a `difftime` or as text: `"7d"`.
#' - `namespace`: by default that of the object; `NULL` is the global one.
#' - `order_by`: `"newest"`, `"oldest"`, a value (`"accuracy"`, the smallest first), or `"-accuracy"`, the largest first;
#'   runs without it come last.
#' - `limit`: at most so many runs. `page`: with `limit = 20`, page 2 has the runs 21 to 40. `after`: a run; those that come
#'   after it, which is a page that runs started meanwhile do not shift.
#'
#' The error `metaflow_invalid_search` says what can't be understood, and which name no run has.
#'
#' @param x What `flow$search()` has returned.
#' @param values Names of parameters and scalar artifacts to have as columns; `"*"` is all of them. By default those that
#'   the search names.
#' @param row.names,optional,... Not used.
#' @return `flow$search()` is a list of [runs][run_client]. `as.data.frame()` of it has a row per run and the columns
#'   `flow`, `id`, `status`, `user`, `created_at`, `finished_at` (`POSIXct` in UTC), `duration` (a `difftime` in seconds),
#'   `tags`, a list of the tags that people gave, and the values.
#' @examples
#' \dontrun{
#' flow <- flow_client$new("TrainFlow")
#' best <- flow$search("accuracy > 0.9", tags = "candidate", order_by = "-accuracy", limit = 10)
#' best[[1]]$data$model
#' as.data.frame(best, values = c("accuracy", "alpha"))
#'
#' as.data.frame(flow$search(status = c("failed", "lost"), since = "7d", namespace = NULL))
#' }
#' @name search_runs
NULL

#' @rdname search_runs
#' @export
as.data.frame.metaflow_search <- function(x, row.names = NULL, optional = FALSE, values = NULL, ...) {
  names <- if (is.null(values)) attr(x, "values") else search_texts(values, "values")
  scope <- if (length(x)) attr(as.list(x)[[1L]], "scope") else character()
  call_core("client_search_table", scope, as.character(x), as.character(names), !is.null(values))
}
