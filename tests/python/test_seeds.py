"""The published articles on organising results, as their readers would follow them: each program in its own process."""

from __future__ import annotations

import re
from typing import Any

TEAM_COLLAB = """
from metaflow import FlowSpec, step, current

class TeamCollabFlow(FlowSpec):

    @step
    def start(self):
        print("current.username: {}".format(current.username))
        print("current.namespace: {}".format(current.namespace))
        self.next(self.end)

    @step
    def end(self):
        import random
        self.choice = random.choice([1,2,3,4,5])
        print("Random choice was {}".format(self.choice))

if __name__ == "__main__":
    TeamCollabFlow()
"""

OWN_RESULTS = """
from metaflow import Flow
run = Flow('TeamCollabFlow').latest_successful_run
run_id, choice = run.id, run.data.choice
print("Run with id={} has choice={}".format(run_id,choice))
"""

SHARED_RESULTS = """
from metaflow import namespace, get_namespace, Flow, default_namespace, Run
from metaflow.exception import MetaflowNamespaceMismatch

not_my_namespace = 'user:my-teammate'
namespace(not_my_namespace) # teammate's default namespace
flow_name = 'TeamCollabFlow'

try:
    run = Flow(flow_name).latest_successful_run
except MetaflowNamespaceMismatch as m:
    print(m)
    print("\\tNo {} results in the {} namespace".format(flow_name, get_namespace()))

my_namespace = default_namespace()
namespace(my_namespace) # give the my_namespace string to your colleague
run = Flow(flow_name).latest_successful_run
run_id, choice = run.id, run.data.choice
print("Run with id={} has choice={}".format(run_id,choice))

_ = namespace(default_namespace())

namespace(None)
run = Run('TeamCollabFlow/{}'.format(run_id))
print("Run with id={} has data={}".format(run_id,run.data))
"""

ACCESS_NAMESPACE = """
from metaflow import (Flow, FlowSpec, step, namespace,
                      default_namespace, Parameter)

def get_flow_data(flow, new_ns, original_ns=default_namespace()):
    try:
        namespace(new_ns)
        run = Flow(flow).latest_successful_run
    except:
        return
    namespace(original_ns)
    return run

class AccessOtherNamespace(FlowSpec):

    other_flow_name = Parameter('other-flow-name',
                                default='TeamCollabFlow')
    other_namespace = Parameter('other-namespace',
                                default=default_namespace())
    msg = "{}.latest_successful_run.data. has value {}."

    @step
    def start(self):
        # access other_flow_name in other_namespace
        run = get_flow_data(
            flow = self.other_flow_name,
            new_ns = self.other_namespace
        )
        if run is None:
            print("Flow {} not found in {} namespace.".format(
                self.other_flow_name,
                self.other_namespace
            ))
        else:
            print(self.msg.format(
                self.other_flow_name,
                run.data.choice,
            ))
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    AccessOtherNamespace()
"""


def test_organise_results_with_namespaces(run_flow: Any) -> None:
    ran = run_flow(TEAM_COLLAB, "run", user="anne", name="team_collab_flow.py").stdout
    assert "current.username: anne\n" in ran and "current.namespace: user:anne\n" in ran
    choice = re.search(r"Random choice was (\d)", ran)[1]

    mine = run_flow(OWN_RESULTS, user="anne", name="own.py").stdout
    assert mine == f"Run with id=1 has choice={choice}\n"

    shared = run_flow(SHARED_RESULTS, user="anne", name="shared.py").stdout.splitlines()
    assert "'TeamCollabFlow'" in shared[0] and "'user:my-teammate'" in shared[0]
    assert shared[1:] == [
        "\tNo TeamCollabFlow results in the user:my-teammate namespace",
        f"Run with id=1 has choice={choice}",
        "Run with id=1 has data=<MetaflowData: choice, name>",
    ]

    teammate = run_flow(OWN_RESULTS, user="will", name="own.py", check=False)
    assert teammate.returncode == 1
    assert "MetaflowNamespaceMismatch" in teammate.stderr

    found = f"TeamCollabFlow.latest_successful_run.data. has value {choice}."
    program = "access_namespace_in_flow.py"
    assert found in run_flow(ACCESS_NAMESPACE, "run", user="anne", name=program).stdout
    absent = "Flow TeamCollabFlow not found in user:will namespace."
    assert absent in run_flow(ACCESS_NAMESPACE, "run", user="will", name=program).stdout
    other = ("run", "--other-namespace", "user:anne")
    assert found in run_flow(ACCESS_NAMESPACE, *other, user="will", name=program).stdout


TAGGING = """
from metaflow import FlowSpec, step

class ModelFlow(FlowSpec):

    @step
    def start(self):
        from metaflow import Flow, current
        run = Flow(current.flow_name)[current.run_id]
        run.add_tag('promising_model')
        self.next(self.end)

    @step
    def end(self):
        from metaflow import current
        print("tags:", sorted(current.run.user_tags))

if __name__ == "__main__":
    ModelFlow()
"""

REVIEW = """
from metaflow import Flow, namespace
for run in list(Flow('ModelFlow').runs('promising_model')):
    if run.id != '2':
        run.remove_tag('promising_model')
namespace('promising_model')
print([run.id for run in Flow('ModelFlow')], [run.id for run in Flow('ModelFlow').runs('promising_model')])
"""


def test_opinions_about_runs_change_and_results_do_not(run_flow: Any) -> None:
    for _ in range(2):
        assert "tags: ['promising_model']\n" in run_flow(TAGGING, "run", name="model.py").stdout
    assert run_flow(REVIEW, name="review.py").stdout == "['2'] ['2']\n"
    # A system that tests a pull request tags its run, from the command line.
    run_flow("model.py", "run", "--run-id-file", "run.txt", user="ci")
    tagged = run_flow("model.py", "tag", "add", "gh_test_ok", "--run-id", "3", user="ci")
    assert "gh_test_ok" in tagged.stdout
    listed = run_flow("model.py", "tag", "list", "--run-id", "3", "--hide-system-tags", "--flat").stdout
    assert listed == "gh_test_ok\npromising_model\n"


PROJECT = """
from metaflow import FlowSpec, step

class {name}(FlowSpec):

    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    {name}()
"""

LOOK = """
import sys
from metaflow import Flow, Run, namespace
from metaflow.exception import MetaflowNamespaceMismatch

def see(ns, flow):
    namespace(ns)
    try:
        return Flow(flow).latest_run.pathspec
    except MetaflowNamespaceMismatch:
        return "nothing"

print(Flow('PredictionFlow').latest_run.pathspec)
print(see('user:will', 'PredictionFlow'), see('user:anne', 'PredictionFlow'))
print(see('xyz_features', 'FeatureFlow'), see('xyz_features', 'PredictionFlow'))
namespace('user:anne')
try:
    Flow('PredictionFlow')['1']
except MetaflowNamespaceMismatch as mismatch:
    print(mismatch)
namespace('user:will')
print(Flow('PredictionFlow')['1'].pathspec)
namespace(None)
print(Run('PredictionFlow/1').pathspec, [run.id for run in Flow('PredictionFlow')])
"""


def test_anne_and_will_share_features_and_keep_predictions_apart(run_flow: Any) -> None:
    prediction, feature = PROJECT.format(name="PredictionFlow"), PROJECT.format(name="FeatureFlow")
    run_flow(prediction, "run", user="will", name="prediction.py")
    run_flow("prediction.py", "run", user="anne")
    run_flow(feature, "run", "--tag", "xyz_features", user="anne", name="feature.py")
    run_flow("feature.py", "run", user="anne")

    seen = run_flow(LOOK, user="anne", name="look.py").stdout.splitlines()
    assert seen[:3] == ["PredictionFlow/2", "PredictionFlow/1 PredictionFlow/2", "FeatureFlow/1 nothing"]
    assert "'PredictionFlow/1'" in seen[3] and "'user:anne'" in seen[3] and 'namespace("user:will")' in seen[3]
    assert seen[4:] == ["PredictionFlow/1", "PredictionFlow/1 ['2', '1']"]

    # When Will runs the shared flow again, his results are the latest for both; his own namespace has changed too.
    run_flow("feature.py", "run", "--tag", "xyz_features", user="will")
    for user, latest in (("anne", "PredictionFlow/2"), ("will", "PredictionFlow/1")):
        seen = run_flow("look.py", user=user).stdout.splitlines()
        assert (seen[0], seen[2]) == (latest, "FeatureFlow/3 nothing")
