#' Remove what nothing refers to, and old runs
#'
#' Without `older_than` only leftovers go: values and files of tasks that were killed before they were done, and of runs
#' that were removed. No run loses anything. With `older_than` runs that ended before that go as well, with everything that
#' is theirs alone. It is safe beside running flows, and may be interrupted at any time.
#'
#' Always kept are runs with a tag that somebody gave them, running ones, and the latest and the latest successful run of
#' each user and each deployment of each flow. `metaflow gc` does the same on the command line, and asks first.
#'
#' @param older_than Remove runs that ended at least so long ago: `"90d"`, `"12h"`, `"2w"`, or a `difftime`. `NULL` is what
#'   the setting `METAFLOW_GC_OLDER_THAN` says, by default no run; `"never"` is no run.
#' @param flow Of the old runs only those of this flow.
#' @param status Of the old runs only those that ended so: `"completed"`, `"failed"`, `"interrupted"`, `"lost"`.
#' @param keep_last Keep at least so many of the newest runs of each flow.
#' @param keep_tags Keep runs with one of these tags, which may be system tags, such as `"production:fraud-x1"`.
#' @param ignore_tags User tags, or patterns such as `"ci-*"`, that do not protect a run. Every other one does.
#' @param dry_run Only tell what would go.
#' @return A list that prints as a text:
#'   - `dry_run`, and `ended_before`: the moment, `NULL` without an age;
#'   - `runs`: a data frame of whole runs with `run`, `status`, `ended_at`;
#'   - `flows`: a data frame with `flow`, `runs`, `tasks`, `bytes`: what these runs amount to;
#'   - `kept`: how many runs of that age stay, by the reason (`tagged`, `latest`, `last`, `running`, `resumed`);
#'   - `parts`: a data frame with `part`, `count`, `bytes`: `values` and `texts` in the database, `files` with large values
#'     and `logs` in the artifact store, `temporary` files; `older` are files from before there was this database, which
#'     are left alone;
#'   - `bytes`: what is freed in all; `database_bytes`: the size of the database, `NULL` when unknown.
#' @examples
#' \donttest{
#' old <- setwd(tempdir()) # where the results of the examples lie
#' flow <- metaflow("PredictionFlow") |>
#'   step(step = "start", r_function = function(self) self$model <- lm(mpg ~ wt, mtcars), next_step = "end") |>
#'   step(step = "end")
#' run(flow)
#'
#' collect_garbage("90d", status = "failed", dry_run = TRUE)
#' freed <- collect_garbage(as.difftime(12, units = "weeks"), flow = "PredictionFlow", keep_last = 10)
#' freed$bytes
#' setwd(old)
#' }
#' @export
collect_garbage <- function(
  older_than = NULL, flow = NULL, status = NULL, keep_last = 0L, keep_tags = NULL, ignore_tags = NULL, dry_run = FALSE
) {
  if (inherits(older_than, "difftime")) {
    older_than <- paste0(format(as.numeric(older_than, units = "hours"), scientific = FALSE, trim = TRUE), "h")
  }
  if (!is.null(older_than) && !is_string(older_than)) {
    stop_metaflow(paste0(
      'An age is text, such as "90d", or a difftime; not ', show_value(older_than), ". Nothing was removed."
    ), class = "metaflow_invalid_argument")
  }
  if (!is.numeric(keep_last) || length(keep_last) != 1L || is.na(keep_last) || keep_last != trunc(keep_last)) {
    stop_metaflow(
      paste0("keep_last is a number of runs, not ", show_value(keep_last), ". Nothing was removed."),
      class = "metaflow_invalid_argument"
    )
  }
  if (!isTRUE(dry_run) && !isFALSE(dry_run)) {
    stop_metaflow(
      paste0("dry_run is TRUE or FALSE, not ", show_value(dry_run), ". Nothing was removed."),
      class = "metaflow_invalid_argument"
    )
  }
  sync_environment()
  report <- call_core(
    "collect_garbage", older_than, if (is.null(flow)) NULL else id_text(flow), as.character(status),
    as.integer(keep_last), as.character(keep_tags), as.character(ignore_tags), dry_run
  )
  class(report) <- "metaflow_garbage"
  report
}

#' @export
format.metaflow_garbage <- function(x, ...) attr(x, "text")

#' @export
print.metaflow_garbage <- function(x, ...) {
  writeLines(format(x))
  invisible(x)
}
