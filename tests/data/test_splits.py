import pytest
import torch

from asim_lightning.data.splits import draw_balanced, shuffled, spread

LABELS = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2])


def test_every_block_holds_every_class_once_and_nothing_is_drawn_twice() -> None:
    drawn = draw_balanced(LABELS, 3, 3, seed=0)
    assert len(set(drawn.tolist())) == 9
    assert LABELS[drawn].reshape(3, 3).sort(dim=1).values.tolist() == [[0, 1, 2]] * 3


def test_blocks_are_not_all_in_the_same_order() -> None:
    labels = torch.arange(1000) % 10
    blocks = labels[draw_balanced(labels, 100, 10, seed=0)].reshape(100, 10)
    assert len({tuple(block) for block in blocks.tolist()}) > 90


def test_the_seed_decides_for_good() -> None:
    assert draw_balanced(LABELS, 3, 3, seed=5).tolist() == draw_balanced(LABELS, 3, 3, seed=5).tolist()
    assert draw_balanced(LABELS, 3, 3, seed=5).tolist() != draw_balanced(LABELS, 3, 3, seed=6).tolist()
    # NumPy's frozen stream, written down so that a change of generator is seen.
    assert shuffled(8, seed=0).tolist() == [6, 2, 1, 7, 3, 0, 5, 4]


def test_a_class_with_too_few_samples_is_named() -> None:
    with pytest.raises(ValueError, match=r"Class 1 has only 3 images to draw from, got 4$"):
        draw_balanced(LABELS, 4, 3, seed=0)


@pytest.mark.parametrize("shuffle", [False, True])
def test_every_beginning_of_a_spread_order_is_as_balanced_as_it_can_be(shuffle: bool) -> None:
    order = spread(LABELS, 0, shuffle)
    assert sorted(order.tolist()) == list(range(12))
    for count in range(13):
        drawn = torch.bincount(LABELS[order[:count]], minlength=3)
        left = torch.tensor([4, 3, 5]) - drawn
        # No class is ahead of one that still has samples.
        assert drawn.max() <= 1 + drawn[left > 0].min() if (left > 0).any() else True


def test_spread_takes_the_samples_of_a_class_as_they_stand_or_shuffled() -> None:
    labels = torch.arange(1000) // 100
    as_they_stand, mixed = spread(labels, 0, shuffle=False), spread(labels, 0, shuffle=True)
    assert (as_they_stand[labels[as_they_stand] == 3] - 300).tolist() == list(range(100))
    assert mixed[labels[mixed] == 3].tolist() != list(range(300, 400))
    assert labels[as_they_stand[:10]].tolist() == labels[as_they_stand[10:20]].tolist() != list(range(10))
    assert spread(labels, 1, shuffle=False).tolist() != as_they_stand.tolist()
    assert labels[spread(labels, 1, shuffle=True)[:10]].tolist() != labels[mixed[:10]].tolist()


def test_spread_passes_over_labels_that_do_not_occur() -> None:
    assert sorted(spread(torch.tensor([7, 7, 900]), 0, shuffle=True).tolist()) == [0, 1, 2]
    assert spread(torch.tensor([], dtype=torch.int64), 0, shuffle=False).tolist() == []
