test_that("a run prints as its pathspec and is a text wherever one is wanted", {
  local_results("anne")
  run <- flow_client$new("PredictionFlow")$latest_run
  expect_output(print(run), "^PredictionFlow/8$")
  expect_equal(format(run), "PredictionFlow/8")
  expect_equal(paste("the", run), "the PredictionFlow/8")
  expect_equal(paste0(run, "/start"), "PredictionFlow/8/start")
  expect_equal(sprintf("%s", run), "PredictionFlow/8")
  expect_equal(toString(run), "PredictionFlow/8")
  expect_true(run %in% c("PredictionFlow/7", "PredictionFlow/8"))
  expect_equal(file.path("results", run), "results/PredictionFlow/8")
  expect_output(cat(run), "PredictionFlow/8")
  expect_output(str(run), "<run_client> PredictionFlow/8")
})

test_that("a run equals its id, its pathspec, the same run, and 0 when it succeeded", {
  local_results("anne")
  flow <- flow_client$new("PredictionFlow")
  run <- flow$latest_run
  expect_true(run == "8")
  expect_true("8" == run)
  expect_true(run == 8)
  expect_true(run == "PredictionFlow/8")
  expect_true(run != "7")
  expect_false(run == "FeatureFlow/8")
  expect_true(run == flow$run("8"))
  expect_false(run == flow$run("7"))
  expect_false(run == run$step("start"))
  expect_equal(run == c("7", "8", "PredictionFlow/8"), c(FALSE, TRUE, TRUE))
  expect_true(run == 0)
  expect_false(run_client$new("FeatureFlow/4") == 0)
  expect_error(run < "8", "==", class = "metaflow_error")
})

test_that("a run is found by id, number, pathspec, run object and what it is to the flow", {
  local_results("anne")
  flow <- flow_client$new("PredictionFlow")
  run <- flow$latest_run
  expect_identical(flow$run(run), run)
  expect_identical(flow$run("8"), run)
  expect_identical(flow$run(8), run)
  expect_identical(flow$run("PredictionFlow/8"), run)
  expect_identical(flow$run("latest_run"), run)
  expect_identical(run_client$new(flow, flow$latest_run), run)
  expect_identical(run_client$new("PredictionFlow/8"), run)
  expect_identical(run_client$new("PredictionFlow", "8"), run)
  expect_identical(run_client$new(flow, "latest_successful_run"), run)
  expect_identical(run_client$new(run), run)
  expect_identical(run_client("PredictionFlow/8"), run)
  expect_identical(new_run(flow, 8), run)
  expect_identical(new_run("PredictionFlow", "latest_run"), run)
})

test_that("a run tells how it went", {
  local_results("anne")
  run <- run_client$new("PredictionFlow/8")
  expect_identical(run$id, "8")
  expect_identical(run$pathspec, "PredictionFlow/8")
  expect_identical(run$path_components, c("PredictionFlow", "8"))
  expect_identical(run$status, "completed")
  expect_true(run$successful)
  expect_true(run$finished)
  expect_s3_class(run$created_at, "POSIXct")
  expect_true(run$finished_at >= run$created_at)
  expect_lt(abs(as.numeric(Sys.time()) - as.numeric(run$created_at)), 3600)
  expect_null(run$origin_pathspec)
  expect_s3_class(run$code, "metaflow_code")
  expect_identical(run$code$script_name, "PredictionFlow.py")
  expect_identical(run$parent, flow_client$new("PredictionFlow"))

  failed <- flow_client$new("FeatureFlow")$latest_run
  expect_true(failed == "4")
  expect_identical(failed$status, "failed")
  expect_false(failed$successful)
  expect_null(failed$end_task)
  expect_length(failed$artifacts, 0)
  expect_true(flow_client$new("FeatureFlow")$latest_successful_run == "2")
})

test_that("data of a run are the artifacts of its end, as values of R", {
  local_results("anne")
  run <- run_client$new("PredictionFlow/8")
  expect_identical(run$data$greeting, "hello")
  expect_identical(run$data[["alpha"]], 0.5)
  expect_equal(unlist(run$data$doubled), c(2, 4, 6))
  expect_identical(run$artifact("greeting"), "hello")
  expect_true(all(c("greeting", "alpha", "doubled") %in% names(run$data)))
  expect_identical(as.list(run$data)$greeting, "hello")
  expect_identical(run$artifacts$greeting$data, "hello")
  expect_equal(names(run$artifacts), names(run$data))
  expect_error(run$data$gretting, "greeting", class = "metaflow_not_found")
  expect_error(run$data$greeting <- "x", class = "metaflow_unchangeable")
})

test_that("a run that did not reach its end says so when its data are asked for", {
  local_results("anne")
  failed <- run_client$new("FeatureFlow/4")
  expect_snapshot(failed$data$greeting, error = TRUE)
  expect_snapshot(failed$artifact("greeting"), error = TRUE)
})

test_that("steps of a run are a list by name", {
  local_results("anne")
  run <- run_client$new("PredictionFlow/8")
  expect_equal(names(run$steps), c("end", "join", "double", "start"))
  expect_identical(run$steps$start, run$step("start"))
  expect_identical(run$steps[["double"]], step_client$new(run, "double"))
  table <- as.data.frame(run$steps)
  expect_equal(table$tasks, c(1L, 1L, 3L, 1L))
})

test_that("what is not there is an error", {
  local_results("anne")
  flow <- flow_client$new("PredictionFlow")
  run <- flow$latest_run
  expect_error(flow$run("99"), "PredictionFlow/99", class = "metaflow_not_found")
  expect_error(flow$run("../8"), class = "metaflow_invalid_pathspec")
  expect_error(flow$run("FeatureFlow/1"), "is not in PredictionFlow", class = "metaflow_invalid_pathspec")
  expect_error(run$step("strat"), "start", class = "metaflow_not_found")
  expect_error(run_client$new("PredictionFlow"), "flow>/<run>", class = "metaflow_invalid_pathspec")
  expect_error(run_client$new("a/b/c"), class = "metaflow_invalid_pathspec")
  expect_error(run_client$new(NULL), "needs a pathspec", class = "metaflow_invalid_pathspec")
  expect_error(run_client$new(c("a", "b")), class = "metaflow_invalid_pathspec")
  expect_error(run_client$new(flow, 1.5), "1.5", class = "metaflow_invalid_pathspec")
  expect_error(flow_client$new("NoFlow"), "NoFlow", class = "metaflow_not_found")
})

test_that("a misspelt field or method is an error that has the right spelling", {
  local_results("anne")
  flow <- flow_client$new("PredictionFlow")
  run <- flow$latest_run
  expect_snapshot(error = TRUE, {
    flow$.runs_with_tags
    flow$latest
    run$sucessful
    run$add_tagz("a")
    run[["stauts"]]
    run$status <- "completed"
    run_client$open("PredictionFlow/8")
    flow$runs$nine
    flow$runs[[99]]
  })
})

test_that("`$` completes", {
  local_results("anne")
  flow <- flow_client$new("PredictionFlow")
  run <- flow$latest_run
  expect_equal(.DollarNames(flow, "^latest"), c("latest_run", "latest_successful_run"))
  expect_true(all(c("id", "tags", "data", "add_tags", "summary") %in% .DollarNames(run, "")))
  expect_equal(.DollarNames(run$data, "^gre"), "greeting")
  expect_equal(.DollarNames(run$steps, "^sta"), "start")
  expect_equal(.DollarNames(flow_client, ""), "new")
  fields <- setdiff(.DollarNames(run, ""), character())
  for (field in fields) expect_error(do.call(`$`, list(run, field)), NA)
})

test_that("summary() shows a run", {
  local_results("anne")
  run <- run_client$new("FeatureFlow/2")
  shown <- "FeatureFlow/2.*status +completed.*steps +start, double \\(3 tasks\\), join, end.*tags +crazy_test, xyz_features"
  expect_output(expect_identical(run$summary(), run), shown)
  expect_output(summary(run$parent), "FeatureFlow.*namespace +user:anne.*runs +2.*latest run +FeatureFlow/4")
})

test_that("every object has its members, and completes them", {
  local_results("anne")
  run <- run_client$new("PredictionFlow/8")
  task <- run$step("double")$a_task
  all <- c(
    "id", "pathspec", "path_components", "parent", "tags", "user_tags", "system_tags", "created_at", "origin_pathspec",
    "is_in_namespace", "finished_at", "summary"
  )
  members <- list(
    list(mf_client$new(), "flows"),
    list(flow_client$new("PredictionFlow"), c(all, "latest_run", "latest_successful_run", "runs", "run", "runs_with_tags")),
    list(run, c(
      all, "data", "successful", "finished", "end_task", "code", "trigger", "steps", "step", "artifacts", "artifact",
      "add_tag", "add_tags", "remove_tag", "remove_tags", "replace_tag", "replace_tags", "tag_history"
    )),
    list(run$step("double"), c(all, "a_task", "tasks", "task", "environment_info", "parent_steps", "child_steps")),
    list(task, c(
      all, "metadata", "metadata_dict", "data", "artifacts", "artifact", "successful", "finished", "exception", "stdout",
      "stderr", "loglines", "index", "current_attempt", "runtime_name", "code", "parent_tasks", "child_tasks"
    ))
  )
  for (one in members) {
    object <- one[[1L]]
    # An unknown name is an error, so each is there.
    for (name in one[[2L]]) expect_no_error(eval(call("$", object, as.name(name))))
    expect_true(all(one[[2L]] %in% utils::.DollarNames(object, "")), info = class(object)[[1L]])
    expect_error(object$nothing_of_the_kind, class = "metaflow_error")
  }
})
