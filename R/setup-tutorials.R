#' Copy the tutorials
#'
#' Short flows in R and in Python, to read and to run.
#'
#' @param to Directory to copy them to. It must not be there yet.
#' @return Its path, invisibly.
#' @examples
#' pull_tutorials(file.path(tempdir(), "metaflow-tutorials"))
#' @export
pull_tutorials <- function(to = "metaflow-tutorials") {
  if (file.exists(to)) stop_metaflow(paste0(to, " is there already. Name another directory."), class = "metaflow_invalid_argument")
  from <- system.file("tutorials", package = "metaflow")
  dir.create(to, recursive = TRUE)
  file.copy(list.files(from, full.names = TRUE), to, recursive = TRUE)
  message("The tutorials are in ", to, ". Begin with ", file.path(to, "01-hello.R"), ".")
  invisible(to)
}
