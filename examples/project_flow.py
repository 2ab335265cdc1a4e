"""A flow of a project, and where a run of it belongs.

    python project_flow.py run                                    # the branch user.<your name>
    python project_flow.py --branch better_version run            # test.better_version
    python project_flow.py --production run                       # prod
    python project_flow.py --branch better_version --production run

The branch decides where the flow writes, so that what somebody tries does no harm to what others rely on.
"""

from metaflow import FlowSpec, current, project, schedule, step


@schedule(daily=True)
@project(name="example_project")
class ProjectFlow(FlowSpec):
    @step
    def start(self):
        print("project name:", current.project_name)
        print("project branch:", current.branch_name)
        print("is this a production run?", current.is_production)
        # What other people rely on is written in production only; each branch has a table of its own.
        self.table = "forecasts" if current.is_production else f"forecasts_{current.branch_name.replace('.', '_')}"
        self.next(self.end)

    @step
    def end(self):
        print(f"{current.project_flow_name} writes to {self.table}")


if __name__ == "__main__":
    ProjectFlow()
