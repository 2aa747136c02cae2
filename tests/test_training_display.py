"""What a training run shows on a terminal and in a file."""

import io

from rich.console import Console

from gtzan_stream.training.display import HEADINGS, Display

ROW = dict.fromkeys(HEADINGS, 0.125) | {"epoch": 3, "lr": 0.001, "crops_per_second": 1234.4}


def test_the_bar_shows_steps_and_measures():
    console = Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None)
    with Display(console) as display:
        display.begin("epoch 2", 40, 10)
        display.advance()
        display.show_measures(ROW)
        lines = console.render_lines(display._bar.get_renderable())
    text = " ".join("".join(segment.text for segment in lines[0]).split())
    for words in ("epoch 2", "11/40", "loss 0.125, accuracy 12%, 1234 crops/s, waiting 12%"):
        assert words in text
    assert not display._bar.live.is_started


def test_a_file_gets_a_line_for_each_epoch_and_no_bar():
    console = Console(file=io.StringIO(), width=70)
    with Display(console) as display:
        display.begin("epoch 3", 40)
        display.print_headings()
        display.print_row(ROW)
    headings, row = console.file.getvalue().splitlines()
    assert row.split() == ["3", "0.1250", "12.5%", "0.1250", "12.5%", "12.5%", "1.0e-03", "1234", "12.5%"]
    end = 0
    for heading in HEADINGS.values():  # columns are aligned to the right
        end = headings.index(heading, end) + len(heading)
        assert row[end - 1] != " "
        assert row[end : end + 1] in (" ", "")


def test_a_stage_without_steps_has_no_count_and_the_table_fits_into_80_columns():
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    with Display(console) as display:
        display.begin("checking (MB)")
        display.show(60, 169)
        assert "60/169" in console.file.getvalue() + str(console.render_lines(display._bar.get_renderable()))
        before = len(console.file.getvalue())
        display.begin("exporting [model.pt2]")
        now = console.file.getvalue()[before:]
        assert "exporting [model.pt2]" in now
        assert "/" not in now
    plain = Console(file=io.StringIO())
    Display(plain).print_headings()
    Display(plain).print_row(ROW)
    assert max(map(len, plain.file.getvalue().splitlines())) <= 80
