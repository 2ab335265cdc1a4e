# A step that checks which R packages it runs with, before the run starts.
#
#   Rscript packages.R run
#
# Packages that are installed in a version that fits are used where they are. With a repository, such as
# repos = "https://cloud.r-project.org", others are installed for this step alone.
library(metaflow)

metaflow("PackagesFlow") |>
  step(
    step = "start", next_step = "end", r_packages(packages = c(cli = ">= 3.0", rlang = "1")),
    r_function = function(self) {
      self$versions <- c(cli = getNamespaceVersion("cli")[[1]], rlang = getNamespaceVersion("rlang")[[1]])
    }
  ) |>
  step(step = "end", r_function = function(self) print(names(self$versions))) |>
  run()
