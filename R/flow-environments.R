#' Python packages of a step's own
#'
#' The step, which is written in Python (`py_function =`), runs in a Python of its own with these packages: `pypi()` takes
#' them from PyPI and needs `uv`, `conda()` from conda and needs `micromamba`, `mamba` or `conda`. `pypi_base()` and
#' `conda_base()` are for all Python steps of a flow; a step's own packages are added to them. Versions are chosen once,
#' before the run starts, and what was installed is kept and shared.
#'
#' @param ... Nothing: arguments are given by name, and a misspelt one is an error that suggests the right one.
#' @param packages Names and versions: `c(pandas = "2.2.3", scipy = ">=1.13")`. A name alone stands for any version.
#' @param python The version of Python, such as `"3.11"`. By default that of this installation.
#' @param disabled `TRUE` lets the step run without packages of its own, whatever the flow says.
#' @param libraries The same as `packages`, an older name.
#' @return A decorator: for [step()], those that end with `_base` for [metaflow()].
#' @seealso [r_packages()] for steps that are written in R.
#' @examples
#' pypi(packages = c(pandas = "2.2.3"), python = "3.11")
#' pypi_base(packages = c(numpy = ">=2"))
#' @export
pypi <- function(..., packages = NULL, python = NULL, disabled = NULL) {
  decorate("pypi", list(...), packages = package_list(packages, "pypi()"), python = python, disabled = disabled)
}

#' @rdname pypi
#' @export
pypi_base <- function(..., packages = NULL, python = NULL, disabled = NULL) {
  decorate("pypi_base", list(...), packages = package_list(packages, "pypi_base()"), python = python, disabled = disabled)
}

#' @rdname pypi
#' @export
conda <- function(..., packages = NULL, python = NULL, disabled = NULL, libraries = NULL) {
  decorate("conda", list(...),
    packages = package_list(packages, "conda()"), python = python, disabled = disabled,
    libraries = package_list(libraries, "conda()")
  )
}

#' @rdname pypi
#' @export
conda_base <- function(..., packages = NULL, python = NULL, disabled = NULL, libraries = NULL) {
  decorate("conda_base", list(...),
    packages = package_list(packages, "conda_base()"), python = python, disabled = disabled,
    libraries = package_list(libraries, "conda_base()")
  )
}

#' R packages of a step's own
#'
#' Says with which R packages a step, or each R step of a flow, runs. Before the run starts, R looks for them: those that
#' are installed in a version that fits are used where they are; others are installed, with what they need, from a
#' repository into a library that is kept and shared, and that only such steps see. What a step ran with is recorded:
#' `step_client$new("Flow/1/train")$environment_info`.
#'
#' @param ... Nothing: arguments are given by name, and a misspelt one is an error that suggests the right one.
#' @param packages Names and versions: `c(cli = "3.6", rlang = ">= 1.0")`. `"3.6"` stands for every version that begins
#'   with it. A name alone stands for any version.
#' @param library The path of a library that the step looks into before all others.
#' @param repos Addresses of repositories. By default those of `getOption("repos")`.
#' @param disabled `TRUE` lets the step run without packages of its own, whatever the flow says.
#' @return A decorator, for [step()] or for [metaflow()].
#' @examples
#' r_packages(packages = c(cli = "3.6"))
#' r_packages(packages = c("cli", "rlang"), repos = "https://cloud.r-project.org")
#' library_path("renv/library")
#' @export
r_packages <- function(..., packages = NULL, library = NULL, repos = NULL, disabled = NULL) {
  decorate("r_packages", list(...),
    packages = package_list(packages, "r_packages()"), library = library, repos = if (length(repos)) as.list(unname(repos)),
    disabled = disabled
  )
}

#' @rdname r_packages
#' @param path The path of a library: `library_path("lib")` is `r_packages(library = "lib")`.
#' @export
library_path <- function(path) r_packages(library = path)

# `c(cli = "3.6", "rlang")` as `list(cli = "3.6", rlang = "")`.
package_list <- function(packages, where) {
  if (is.null(packages) || inherits(packages, "metaflow_config_expr")) return(packages)
  given <- as.list(packages)
  fit <- vapply(given, function(one) is_string(one) || is.numeric(one) && length(one) == 1L && !is.na(one), NA)
  if (!is.vector(packages) || !all(fit)) {
    stop_metaflow(
      paste0(where, ": `packages` must be names and versions as text, as in c(cli = \"3.6\"), not ", show_value(packages), "."),
      class = "metaflow_invalid_argument"
    )
  }
  if (!length(given)) return(NULL)
  names <- if (is.null(names(given))) rep("", length(given)) else names(given)
  alone <- !nzchar(names)
  names[alone] <- vapply(given[alone], as.character, "")
  given[alone] <- ""
  if (anyDuplicated(names)) {
    stop_metaflow(
      paste0(where, ": `packages` has ", names[anyDuplicated(names)], " twice."),
      class = "metaflow_invalid_argument"
    )
  }
  names(given) <- names
  given
}
