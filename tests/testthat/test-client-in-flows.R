# The client beside and inside of flows in R.

rscript <- function(project, user, ...) {
  withr::local_dir(project)
  withr::local_envvar(METAFLOW_USER = user, R_LIBS = paste(.libPaths(), collapse = .Platform$path.sep))
  suppressWarnings(system2(file.path(R.home("bin"), "Rscript"), c(...), stdout = TRUE, stderr = TRUE))
}

r_project <- function() {
  if (is.null(shared$r_project)) {
    python_of_metaflow()
    shared$r_project <- tempfile("r_project")
    dir.create(shared$r_project)
    writeLines(con = file.path(shared$r_project, "features.R"), '
      library(metaflow)
      start <- function(self) {
        self$features <- data.frame(x = c(1.5, NA), label = factor(c("a", "b")))
        self$model <- lm(mpg ~ wt, data = mtcars)
      }
      metaflow("FeatureFlow") %>%
        step(step = "start", r_function = start, next_step = "end") %>%
        step(step = "end") %>%
        run(tag = c("crazy_test"))
    ')
    writeLines(con = file.path(shared$r_project, "prediction.R"), '
      library(metaflow)
      start <- function(self) {
        self$source <- flow_client$new("FeatureFlow")$latest_run
        self$namespace <- get_namespace()
      }
      end <- function(self) {
        self$rows <- nrow(self$source$data$features)
        set_default_namespace()
        run_client$new(current("flow_name"), current("run_id"))$add_tag("promising_model")
      }
      metaflow("PredictionFlow") %>%
        step(step = "start", r_function = start, next_step = "end") %>%
        step(step = "end", r_function = end) %>%
        run()
    ')
    rscript(shared$r_project, "will", "features.R", "run")
    rscript(shared$r_project, "anne", "features.R", "run", "--tag", "xyz_features")
  }
  shared$r_project
}

test_that("artifacts of R are read as they were", {
  local_results("anne", project = r_project())
  run <- flow_client$new("FeatureFlow")$runs_with_tags("crazy_test")[[1]]
  expect_identical(run$user_tags, c("crazy_test", "xyz_features"))
  expect_identical(run$data$features, data.frame(x = c(1.5, NA), label = factor(c("a", "b"))))
  expect_equal(predict(run$data$model), predict(lm(mpg ~ wt, data = mtcars)))
  expect_identical(run$artifacts$features$language, "r")
  expect_true(any(grepl("^r_version:", run$system_tags)))
})

test_that("a step reads the results of another flow, in the namespace of --namespace", {
  project <- r_project()
  rscript(project, "anne", "prediction.R", "run")
  local_results("anne", project = project)
  run <- flow_client$new("PredictionFlow")$latest_run
  expect_true(run$successful)
  expect_equal(as.character(run$data$source), "FeatureFlow/2")
  expect_equal(run$data$rows, 2L)
  expect_equal(run$data$namespace, "user:anne")
  expect_equal(run$user_tags, "promising_model")

  rscript(project, "anne", "prediction.R", "run", "--namespace", "user:will")
  run <- flow_client$new("PredictionFlow")$latest_run
  expect_equal(as.character(run$data$source), "FeatureFlow/1")
  expect_equal(run$data$namespace, "user:will")
  expect_true("user:anne" %in% run$system_tags)
})

test_that("a run object that is an artifact is one again, and stands for its id", {
  project <- r_project()
  local_results("anne", project = project)
  if (!"PredictionFlow" %in% list_flows()) rscript(project, "anne", "prediction.R", "run")
  source <- flow_client$new("PredictionFlow")$latest_run$data$source
  expect_s3_class(source, "run_client")
  expect_true(source$successful)
  expect_identical(flow_client$new("FeatureFlow")$parent, NULL)
})

test_that("run() returns the run, which is 0 when it succeeded and serves as an origin", {
  project <- local_results("anne", project = r_project())
  writeLines(con = file.path(project, "session.R"), '
    library(metaflow)
    flow <- metaflow("SessionFlow") |>
      step(step = "start", r_function = function(self) self$x <- 1, next_step = "end") |>
      step(step = "end")
    go <- function() {
      set_namespace("nobody")
      first <- run(flow, tag = c("a", "b"))
      cat("outside:", first$is_in_namespace(), first$step("start")$a_task$data$x, "\n")
      set_default_namespace()
      again <- run(flow, resume = "end", origin_run_id = first)
      cat("answer:", first == 0, format(first), again$origin_pathspec, first$user_tags, "\n")
    }
  ')
  lines <- rscript(project, "anne", "-e", shQuote('source("session.R"); go()'))
  expect_match(lines, "outside: FALSE 1", fixed = TRUE, all = FALSE)
  expect_match(lines, "answer: TRUE SessionFlow/1 SessionFlow/1 a b", fixed = TRUE, all = FALSE)
})
