#' List the tags
#'
#' Which tags the runs have now, since when, and who gave them.
#'
#' @param flow Name of a flow. By default the tags of all flows are listed.
#' @param system Whether to list the tags that every run gets by itself, too, such as `"date:2026-01-31"`.
#' @return A data frame with a row per tag, in the order of the alphabet: `tag`, `runs` (how many), `since` and `latest`
#'   (when it was first and last given to one of the flow's runs), and `by`, a list of the identities that gave it.
#' @examples
#' \dontrun{
#' list_tags("PredictionFlow")
#' }
#' @export
list_tags <- function(flow = NULL, system = FALSE) {
  sync_environment()
  call_core("list_tags", if (is.null(flow)) "" else id_text(flow), isTRUE(system))
}
