test_that("latest_run is the latest run of the user", {
  local_results("anne")
  run <- flow_client$new("PredictionFlow")$latest_run
  expect_equal(as.character(run), "PredictionFlow/8")

  withr::local_envvar(METAFLOW_USER = "will")
  run <- flow_client$new("PredictionFlow")$latest_run
  expect_equal(as.character(run), "PredictionFlow/5")
})

test_that("set_namespace shows the results of another user", {
  local_results("anne")
  expect_equal(get_namespace(), "user:anne")
  expect_equal(set_namespace("user:will"), "user:will")
  run <- flow_client$new("PredictionFlow")$latest_run
  expect_true(run == "PredictionFlow/5")
  expect_equal(get_namespace(), "user:will")
  expect_equal(set_default_namespace(), "user:anne")
})

test_that("a run of another namespace is an error that says how to switch, and then is no error", {
  local_results("anne")
  error <- expect_error(flow_client$new("PredictionFlow")$run("5"), class = "metaflow_namespace_mismatch")
  expect_s3_class(error, "metaflow_error")
  expect_match(conditionMessage(error), 'set_namespace("user:will")', fixed = TRUE)
  expect_match(conditionMessage(error), "set_namespace(NULL)", fixed = TRUE)
  expect_match(conditionMessage(error), "The run 'PredictionFlow/5' is not in the namespace 'user:anne'", fixed = TRUE)
  outside <- list(
    quote(run_client$new("PredictionFlow/5")),
    quote(step_client$new("PredictionFlow/5/start")),
    quote(task_client$new("PredictionFlow/5/start/1")),
    quote(artifact$new("PredictionFlow/5/start/1/numbers"))
  )
  for (reference in outside) expect_error(eval(reference), class = "metaflow_namespace_mismatch")

  set_namespace("user:will")
  expect_true(flow_client$new("PredictionFlow")$run("5")$successful)
})

test_that("relative references see what is in the namespace", {
  local_results("anne")
  flow <- flow_client$new("FeatureFlow")
  expect_true(flow$latest_run == "4" && flow$latest_successful_run == "2")
  expect_equal(names(flow$runs), c("4", "2"))
  set_namespace("crazy_test")
  flow <- flow_client$new("FeatureFlow")
  expect_true(flow$latest_run == "3" && flow$latest_successful_run == "3")
  expect_equal(names(flow$runs_with_tags("user:will")), c("3", "1"))
  expect_length(flow$runs_with_tags("user:will", "xyz_features"), 0)
})

test_that("the default is the identity: the user, or in production the token", {
  local_results("anne")
  expect_equal(get_namespace(), "user:anne")
  withr::local_envvar(METAFLOW_PRODUCTION_TOKEN = "predictionflow-0-abcd")
  expect_equal(get_namespace(), "production:predictionflow-0-abcd")
  expect_error(flow_client$new("PredictionFlow"), "predictionflow-0-abcd", class = "metaflow_namespace_mismatch")
  withr::local_envvar(METAFLOW_PRODUCTION_TOKEN = NA, METAFLOW_USER = NA, SUDO_USER = NA, USERNAME = NA, USER = "root")
  expect_error(get_namespace(), "METAFLOW_USER", class = "metaflow_unknown_user")
  withr::local_envvar(USER = "will")
  expect_equal(set_default_namespace(), "user:will")
})

test_that("the global namespace has everything", {
  local_results("anne")
  expect_null(set_namespace(NULL))
  expect_null(get_namespace())
  flow <- flow_client$new("PredictionFlow")
  expect_true(flow$run("5") == "5")
  expect_equal(names(flow$runs), as.character(8:1))
})

test_that("any tag is a namespace", {
  local_results("will")
  set_namespace("xyz_features")
  run <- flow_client$new("FeatureFlow")$latest_run
  expect_equal(as.character(run), "FeatureFlow/2")
  expect_true("user:anne" %in% run$tags)
  expect_error(flow_client$new("PredictionFlow"), class = "metaflow_namespace_mismatch")
  expect_equal(list_flows(), "FeatureFlow")
})

test_that("an object keeps the namespace in which it was made", {
  local_results("anne")
  flow <- flow_client$new("PredictionFlow")
  set_namespace("user:will")
  expect_true(flow$latest_run == "8")
  expect_false(flow$latest_run$is_in_namespace())
  expect_true(flow$is_in_namespace())
  # a new object is made in the namespace of now
  expect_error(run_client$new(flow, "8"), class = "metaflow_namespace_mismatch")
  expect_true(run_client$new(flow, "latest_run") == "5")
})

test_that("list_namespaces tells which there are", {
  local_results("anne")
  found <- list_namespaces("FeatureFlow")
  expect_equal(found$namespace, c("user:anne", "user:will", "crazy_test", "xyz_features"))
  expect_equal(found$runs, c(2L, 2L, 3L, 1L))
  expect_equal(found$owners[[3]], c("anne", "will"))
  expect_s3_class(found$since, "POSIXct")
  expect_equal(list_namespaces(flow_client$new("FeatureFlow")), found)
  expect_true("runtime:dev" %in% list_namespaces("FeatureFlow", system = TRUE)$namespace)
  expect_error(list_namespaces("NoFlow"), class = "metaflow_not_found")
})

test_that("a namespace must be one text or NULL", {
  local_results("anne")
  expect_snapshot(error = TRUE, {
    set_namespace()
    set_namespace(c("user:anne", "user:will"))
    set_namespace(NA_character_)
    set_namespace(5)
    set_namespace("")
  })
  expect_equal(get_namespace(), "user:anne")
})

test_that("metadata of another directory can be read, and objects keep theirs", {
  project <- local_results("anne")
  flow <- flow_client$new("PredictionFlow")
  elsewhere <- withr::local_tempdir()
  withr::local_dir(elsewhere)
  expect_error(flow_client$new("PredictionFlow"), class = "metaflow_not_found")
  expect_true(flow$latest_run == "8")

  expect_equal(set_metadata(project), paste0("local@", normalizePath(project)))
  expect_true(flow_client$new("PredictionFlow")$latest_run == "8")
  expect_equal(get_metadata(), paste0("local@", normalizePath(project)))
  expect_equal(reset_default_metadata(), paste0("local@", normalizePath(elsewhere)))
  expect_error(set_metadata("/no/such/project"), "no directory", class = "metaflow_error")
  expect_error(set_metadata(NULL), "needs a directory", class = "metaflow_error")
})
