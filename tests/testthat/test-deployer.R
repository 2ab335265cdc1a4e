# deployer(), deployed_flow() and list_deployed_flows(), with the local orchestrator and a database in a file.

shop_flow <- function(name = "ShopFlow", step = "end") {
  c(
    "library(metaflow)",
    paste0("metaflow(\"", name, "\", project(name = \"shop\")) |>"),
    "  parameter(\"alpha\", default = 0.5) |>",
    "  parameter(\"names\", default = \"a\", separator = \",\") |>",
    "  step(step = \"start\", r_function = function(self) {",
    "    self$told <- list(self$alpha * 2, unlist(self$names), current(\"branch_name\"))",
    paste0("  }, next_step = \"", step, "\") |>"),
    "  step(step = \"end\") |>",
    "  run()"
  )
}

# In the project with flow.R, which the tests share, as one of its users.
local_shop <- function(user = "anne", env = parent.frame()) {
  python_of_metaflow()
  if (is.null(shared$shop)) {
    shared$shop <- tempfile("shop")
    dir.create(file.path(shared$shop, ".metaflow"), recursive = TRUE)
    writeLines(shop_flow(), file.path(shared$shop, "flow.R"))
  }
  local_results(user, shared$shop, env)
  withr::local_envvar(METAFLOW_HOME = file.path(shared$shop, user), .local_envir = env)
}

agent_once <- function() {
  code <- shQuote("from metaflow_core.cli.metaflow import main; main()")
  words <- c("-c", code, "agent", "--once", "--interval", "0.02")
  system2(python_of_metaflow(), words, stdout = "agent.log", stderr = "agent.log")
}

in_production <- function(...) deployer("flow.R", show_output = FALSE, production = TRUE, ...)

test_that("a flow is deployed, triggered, waited for, ended and removed", {
  local_shop()
  target <- in_production()$local(max_workers = 2)
  expect_output(print(target), "<to be deployed: local>", fixed = TRUE)
  expect_length(list_deployed_flows(), 0L)
  deployed <- target$create(tags = c("a", "b"))
  expect_output(print(deployed), "<deployed flow shop.prod.ShopFlow: local>", fixed = TRUE)
  expect_identical(
    c(deployed$name, deployed$flow_name, deployed$orchestrator), c("shop.prod.ShopFlow", "ShopFlow", "local")
  )
  expect_match(deployed$production_token, "^shop-prod-shopflow-0-")
  told <- deployed$status()
  expect_identical(c(told$name, told$owner), c("shop.prod.ShopFlow", "anne"))

  first <- deployed$trigger(alpha = 3, names = c("x,y", "z"))
  expect_identical(c(first$run_id, first$pathspec), c("local-1", "ShopFlow/local-1"))
  expect_output(print(first), "<triggered run ShopFlow/local-1>", fixed = TRUE)
  expect_identical(first$status, "queued")
  expect_null(first$run)
  expect_error(first$wait_for_run(timeout = 0, check_interval = 0.01), "has not begun within 0 seconds.*it is queued")
  later <- deployed$trigger()
  later$terminate()
  expect_identical(later$status, "terminated")

  expect_identical(agent_once(), 0L)
  run <- first$wait_for_run(timeout = 60)
  expect_s3_class(run, "run_client")
  expect_identical(first$status, "succeeded")
  expect_true(run$successful)
  expect_equal(run$data$told, list(6, c("x,y", "z"), "prod"))
  expect_setequal(run$user_tags, c("a", "b"))
  expect_null(later$run)
  set_namespace(paste0("production:", deployed$production_token))
  expect_true(flow_client$new("ShopFlow")$latest_run == run)

  # Without the file of the flow, from another directory even.
  found <- deployed_flow("shop.prod.ShopFlow", orchestrator = "local")
  expect_identical(found$production_token, deployed$production_token)
  expect_identical(vapply(found$list_runs(), function(one) one$run_id, ""), c("local-2", "local-1"))
  expect_identical(vapply(found$list_runs("succeeded", "failed"), function(one) one$run_id, ""), "local-1")
  expect_identical(found$run("local-2")$status, "terminated")
  expect_identical(vapply(list_deployed_flows(flow_name = "ShopFlow"), function(one) one$name, ""), "shop.prod.ShopFlow")
  expect_length(list_deployed_flows(flow_name = "OtherFlow"), 0L)
  expect_length(list_deployed_flows("airflow"), 0L)
  expect_null(found$delete())
  expect_length(list_deployed_flows(), 0L)
  expect_error(found$trigger(), "Nothing is deployed as shop.prod.ShopFlow", class = "metaflow_not_found")
  expect_true(run$successful)
})

test_that("who has not shown the production token is refused", {
  local_shop("anne")
  deployed <- in_production()$local()$create()
  withr::local_envvar(METAFLOW_USER = "bob", METAFLOW_HOME = file.path(getwd(), "bob"))
  refused <- expect_error(in_production()$local()$create(), class = "metaflow_incorrect_production_token")
  expect_match(conditionMessage(refused), "shop.prod.ShopFlow is the production version, deployed by anne")
  expect_no_match(conditionMessage(refused), deployed$production_token, fixed = TRUE)
  expect_error(in_production()$local()$create(authorize = "guess"), class = "metaflow_incorrect_production_token")
  expect_error(deployed_flow("shop.prod.ShopFlow")$delete(), class = "metaflow_incorrect_production_token")
  expect_identical(deployed_flow("shop.prod.ShopFlow")$status()$owner, "anne")
  shown <- in_production()$local()$create(authorize = deployed$production_token)
  expect_identical(shown$production_token, deployed$production_token)
  fresh <- in_production()$local(generate_new_token = TRUE)$create()
  expect_false(fresh$production_token == deployed$production_token)
  # Bob's own branch is his.
  own <- deployer("flow.R", show_output = FALSE)$local()$create()
  expect_identical(own$name, "shop.user.bob.ShopFlow")
  own$delete()
  fresh$delete()
})

test_that("what can't be deployed or triggered is an error that says what to write instead", {
  local_shop()
  writeLines(shop_flow("BadFlow", "edn"), "bad.R")
  writeLines("metaflow(", "broken.R")
  wrong <- function(...) deployer("flow.R", show_output = FALSE, branch = "wrong", ...)
  target <- wrong()$local()
  deployed <- target$create()
  expect_snapshot(error = TRUE, {
    wrong()$lcoal()
    wrong()$local(max_wokers = 2)
    target$create(max_workers = 0)
    target$craete()
    wrong(metdata = "x")
    deployer(5)
    deployer("flow.R", env = "DEBUG")
    deployed$trigger(alpah = 1)
    deployed$trigger(alpha = "x")
    deployed$list_runs("runing")
    deployed$run("local-99")
    deployed$list_rnus()
    deployed_flow()
    deployed_flow("shop.test.wrong.ShopFlwo")
    deployed_flow("shop.test.wrong.ShopFlow", orchestrator = "airflwo")
    deployed_flow("shop.test.wrong.ShopFlow", orchestrator = "airflow")
  })
  expect_error(deployer("nowhere.R"), "There is no flow file \"nowhere.R\" in ", class = "metaflow_command")
  expect_error(
    deployer("bad.R", show_output = FALSE)$local()$create(), "Did you mean .?end", class = "metaflow_lint_warn"
  )
  expect_error(deployer("broken.R", show_output = FALSE)$local()$create(), class = "metaflow_error")
  expect_identical(vapply(list_deployed_flows(), function(one) one$name, ""), "shop.test.wrong.ShopFlow")
  expect_length(deployed$list_runs(), 0L)
  deployed$delete()
})

test_that("events have a name and a named list", {
  local_shop()
  expect_identical(publish_event("sold", list(rows = 100L), id = "one"), "one")
  expect_error(publish_event("sold", list(1)), "named list", class = "metaflow_invalid_argument")
  event <- argo_event("sold", payload = list(rows = 1L))
  expect_output(print(event$add_to_payload("more", NULL)), "<event sold for Argo Events>", fixed = TRUE)
  expect_null(event$safe_publish())
  expect_warning(expect_null(event$publish()), "METAFLOW_ARGO_EVENTS_WEBHOOK_URL")
  expect_error(event$pubilsh(), "publish", class = "metaflow_unknown_member")
})
