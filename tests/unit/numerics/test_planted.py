import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from app.numerics.discriminant import leave_one_out_hardness
from app.numerics.planted import plant_slice, recovery


def clustered(seed=0, n=1000, d=32):
    generator = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn((10, d), generator=generator)
    features = centres[torch.randint(10, (n,), generator=generator)] + torch.randn((n, d), generator=generator)
    return features, torch.rand(n, generator=generator) < 0.1


def test_the_planted_rows_are_the_nearest_ones_and_fail_at_the_rate():
    features, errors = clustered()
    planted = plant_slice(features, errors, torch.Generator().manual_seed(1))
    unit = torch.nn.functional.normalize(features, dim=1)
    similarity = unit @ unit[planted.center]
    assert int(planted.members.sum()) == 100
    assert similarity[planted.members].min() >= similarity[~planted.members].max() - 1e-6
    assert float(planted.errors[planted.members].double().mean()) == pytest.approx(0.6, abs=0.15)


def test_other_rows_keep_their_number_of_errors_but_not_their_order():
    features, errors = clustered()
    before = errors.clone()
    planted = plant_slice(features, errors, torch.Generator().manual_seed(1))
    outside = ~planted.members
    assert int(planted.errors[outside].sum()) == int(errors[outside].sum())
    assert not torch.equal(planted.errors[outside], errors[outside])
    assert torch.equal(errors, before)


def test_seeded_and_blockwise():
    features, errors = clustered()
    plants = [plant_slice(features, errors, torch.Generator().manual_seed(5), block=b) for b in (65_536, 77)]
    assert torch.equal(plants[0].errors, plants[1].errors)
    assert torch.equal(plants[0].members, plants[1].members)


def test_a_planted_slice_can_be_recovered_and_chance_cannot():
    features, errors = clustered()
    planted = plant_slice(features, errors, torch.Generator().manual_seed(2))
    ours = recovery(leave_one_out_hardness(features, planted.errors)[:, None], planted.members)
    chance = recovery(torch.rand((1000, 1), generator=torch.Generator().manual_seed(0)), planted.members)
    assert ours.precision_at_25 > 0.8
    assert chance.average_precision == pytest.approx(0.1, abs=0.05)


def test_figures_agree_with_scikit_learn():
    generator = torch.Generator().manual_seed(3)
    scores, members = torch.rand((200, 4), generator=generator), torch.rand(200, generator=generator) < 0.2
    found = recovery(scores, members)
    average = [average_precision_score(members.numpy(), scores[:, j].numpy()) for j in range(4)]
    assert found.slice_index == int(np.argmax(average))
    assert found.average_precision == pytest.approx(max(average))
    top = scores[:, found.slice_index].argsort(descending=True)
    assert found.precision_at_10 == pytest.approx(float(members[top[:10]].double().mean()))
    assert found.precision_at_25 == pytest.approx(float(members[top[:25]].double().mean()))


def test_nothing_predicted_recovers_nothing():
    assert recovery(torch.zeros((5, 0)), torch.ones(5, dtype=torch.bool)).average_precision == 0.0
    assert recovery(torch.zeros((5, 2)), torch.zeros(5, dtype=torch.bool)).slice_index == -1


@pytest.mark.parametrize("bad", [{"prevalence": 0.0}, {"error_rate": 1.5}])
def test_impossible_plants(bad):
    with pytest.raises(ValueError, match="planting"):
        plant_slice(torch.randn(20, 3), torch.zeros(20, dtype=torch.bool), torch.Generator(), **bad)
