#' Set up Python for metaflow
#'
#' Makes a virtual environment with the Python half of metaflow and what joins it to R, in versions that fit this R.
#' Nothing needs to be known of Python, but one has to be on the machine. `library(metaflow)` finds the environment in any
#' later session, without a setting.
#'
#' @param python Python to make the environment with. By default the newest of `python3` and its relatives that R can load.
#' @param source What to install: a directory with the source of metaflow-tandem, or a name that pip understands.
#' @param envname Directory of the environment, by default `r-metaflow` in the directory `WORKON_HOME`, or `~/.virtualenvs`.
#' @param force Whether an environment that is there is made again.
#' @return The path of the environment's Python, invisibly. `remove_metaflow_env()` removes the environment.
#' @examples
#' \dontrun{
#' install_metaflow()
#' }
#' @export
install_metaflow <- function(python = NULL, source = "metaflow-tandem", envname = metaflow_env(), force = FALSE) {
  if (length(the$core)) {
    stop_metaflow("Python runs in this session already. Call install_metaflow() in a new one.", class = "metaflow_invalid_argument")
  }
  envname <- path.expand(envname)
  target <- python_in(envname)
  if (is.null(python) && (force || !file.exists(target))) python <- python_on_path()
  if (force) unlink(envname, recursive = TRUE)
  if (!file.exists(target)) {
    message("Making a virtual environment in ", envname)
    dir.create(dirname(envname), recursive = TRUE, showWarnings = FALSE)
    run_or_stop(python, c("-m", "venv", envname), "The virtual environment could not be made")
  }
  packages <- c(rpy2_for(getRversion()), "pandas", if (dir.exists(source)) normalizePath(source) else source)
  message("Installing ", paste(packages, collapse = ", "))
  run_or_stop(target, c("-m", "pip", "install", "--quiet", packages), "The Python packages could not be installed")
  record <- python_records()[[2L]]
  dir.create(dirname(record), recursive = TRUE, showWarnings = FALSE)
  writeLines(target, record)
  message("Ready: ", target)
  invisible(target)
}

#' @rdname install_metaflow
#' @export
remove_metaflow_env <- function(envname = metaflow_env()) {
  envname <- path.expand(envname)
  if (dir.exists(envname) && !file.exists(file.path(envname, "pyvenv.cfg"))) {
    stop_metaflow(paste0(envname, " is not a virtual environment, and was left as it is."), class = "metaflow_invalid_argument")
  }
  unlink(envname, recursive = TRUE)
  record <- python_records()[[2L]]
  if (file.exists(record) && identical(readLines(record, n = 1L, warn = FALSE), python_in(envname))) unlink(record)
  invisible(NULL)
}

python_on_path <- function() {
  names <- c("python3", "python3.13", "python3.12", "python3.11", "python3.10", "python")
  for (path in Sys.which(names)[nzchar(Sys.which(names))]) {
    facts <- tryCatch(python_facts(path), error = function(e) NULL)
    if (!is.null(facts) && numeric_version(facts$version, strict = FALSE) >= "3.10") return(path)
  }
  stop_metaflow(
    c(
      "No Python from 3.10 on was found that R can load.",
      i = paste(
        "Install one: on Debian and Ubuntu, apt-get install python3 python3-venv libpython3-dev.",
        "Or name it: install_metaflow(python = \"...\")."
      )
    ),
    class = "metaflow_python_not_available"
  )
}

run_or_stop <- function(program, arguments, failure) {
  output <- run_python(program, shQuote(arguments), stderr = TRUE)
  if (!is.null(attr(output, "status"))) {
    stop_metaflow(
      c(paste0(failure, ": ", program, " ", paste(arguments, collapse = " ")), utils::tail(output, 15L)),
      class = "metaflow_python_not_available"
    )
  }
}
