from traincheck.dsl.parse import parse_text
from traincheck.dsl.printer import print_file

BEAUTIFUL = '''\
version "1.0"

define does(C, Concept) :- call(C, api: A), concept(A, Concept).
define concept("torch.optim.optimizer.Optimizer.step", "optimizer_step").
define far(C, D) :-
  contains(C, B), contains(B, D), call(B, api: "torch.optim.*", stage: "train", outcome: "returned"),
  not concept("torch.optim.optimizer.Optimizer.step", "forward"), B != C.

template precedes(First: concept, Then: concept)
  "'{First}' comes before '{Then}' in every step"
  about     """Free documentation.

            It may span lines."""
  when      does(C, Then), call(C, step: S, enter: T), call(C, stage: "train", outcome: "returned"),
            variable(_, name: "head", requires_grad: "true")
  expect    does(D, First), call(D, step: S, exit: E), E < T
  within    step S
  given     C
  propose   First != Then
  severity  error

rule no_nonfinite_gradient "a gradient became non-finite" severity error
  never  state(V, attr: "grad", class: "nonfinite", step: S)

rule few_steps "an optimizer steps at most twice" severity note
  when    does(C, "optimizer_step"), call(C, step: S)
  expect  count { D, E : contains(C, D), contains(D, E) } <= 2 * (S + 1) - 3
  within  step S

invariant precedes(First: "zero_grad", Then: "backward")
  "'zero_grad' comes before 'backward' in every step"
  if        C.stage == "train", C.arg.shuffle != "true" or exists C.autocast, V.name == W."odd name"
  evidence  runs 3, examples 120, confidence 0.98, false_alarms 0.0
  severity  warning

example precedes(First: "zero_grad", Then: "backward") violated "not in evaluation"
  if     C.stage == "train"
  use    loop, sgd
  facts  call(1, api: "torch.Tensor.backward", step: 0, stage: "eval", exit: _), call(2, parent: 1)

example few_steps untriggered "nothing happens"

setting sgd "a parameter"
  facts  variable(1, name: "fc.weight"), holds(optimizer: 1, variable: 1)
'''


def test_the_layout_is_the_one_people_would_write() -> None:
    assert print_file(parse_text(BEAUTIFUL)) == BEAUTIFUL


def test_no_line_is_longer_than_it_must_be() -> None:
    names = ", ".join(f'P{index}: "{"x" * 30}"' for index in range(9))
    conditions = ", ".join(f'C.arg.name{index} == "value"' for index in range(20))
    text = print_file(parse_text(f'invariant t({names}) "t" if {conditions}'))
    assert max(map(len, text.splitlines())) <= 110
