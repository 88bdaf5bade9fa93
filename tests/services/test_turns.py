"""What a conversation remembers of its turns."""

from __future__ import annotations

from pipit.services import (
    Line,
    ReplyAudio,
    ReplyDone,
    ReplyStarted,
    ReplyText,
    ToolCall,
    ToolCancelled,
    UserStarted,
    UserStopped,
    UserText,
)
from pipit.services.turns import BLIP_S, FIRST_TURN_S, LOOK_BACK_S, Turns

SECOND = bytes(48000)
SAY = 'The tool lamp that you called has answered: "on" Tell the person what that means.'


def turns(seconds: float = 0) -> Turns:
    made = Turns(24000, 24000)
    made.sound.append(SECOND * int(seconds))
    return made


def called() -> Turns:
    made = turns()
    made.note(ToolCall("c", "lamp", {}), 0)
    return made


def test_a_turn_is_heard_again_from_before_it_was_noticed() -> None:
    made = turns(FIRST_TURN_S + 20)
    made.note(UserStarted(), 0)
    made.note(UserText("Is it", final=True), 1)
    assert made.waiting
    assert made.said() == (), "it is heard again, so it is not told as well"
    assert made.find(resumed=False) == len(SECOND) * (FIRST_TURN_S + 20 - LOOK_BACK_S)


def test_a_turn_that_nobody_answers_was_none() -> None:
    made = turns()
    made.note(UserStopped(), 5)
    assert made.blip_at is None, "it never began"
    made.note(UserStarted(), 5)
    made.note(UserStopped(), 6)
    assert made.is_over
    assert made.blip_at == 6 + BLIP_S
    made.answered()
    assert (made.blip_at, made.waiting, made.is_over) == (None, False, False)


def test_a_session_that_is_taken_up_again_hears_what_came_since() -> None:
    made = turns(3)
    made.lose(server_turns=True)
    made.sound.append(SECOND)
    assert made.find(resumed=True) == 3 * len(SECOND)
    assert made.find(resumed=True) is None, "once"


def test_a_reply_that_broke_off_is_gone_on_with_unless_it_was_interrupted() -> None:
    for interrupted in (False, True):
        made = turns()
        for event in (ReplyStarted("r"), ReplyText("r", "Once upon a time"), ReplyAudio("r", SECOND)):
            made.note(event, 0)
        if interrupted:
            made.interrupt("r", 500, by_service=False)
        assert list(made.cut("lost")) == [ReplyDone("r", "failed", "lost")]
        assert [wish.reply for wish in made.ask()] == ([] if interrupted else ["r"])
        assert made.said() == (Line(True, "Once" if interrupted else "Once upon a time"),)


def test_the_result_of_a_tool_is_wished_for_until_the_agent_has_spoken_about_it() -> None:
    made = called()
    assert made.waiting
    assert made.result("c", '"on"')
    assert made.waiting
    list(made.cut("lost"))
    assert [wish.instructions for wish in made.ask()] == [SAY]
    made = called()
    made.result("c", '"on"')
    made.note(ReplyAudio("r", SECOND), 0)
    made.note(ReplyDone("r"), 0)
    assert not made.waiting
    assert list(made.cut("lost")) == []
    assert made.ask() == []


def test_what_a_session_was_asked_for_is_wanted_again_if_it_is_lost_before_it_reacts() -> None:
    made = turns()
    made.want("Go on.")
    for _ in range(2):
        assert [wish.instructions for wish in made.ask()] == ["Go on."]
        assert made.waiting
        assert list(made.cut("lost")) == []
    made.ask()
    made.note(ReplyStarted("r"), 0)
    made.note(ReplyDone("r"), 0)
    assert not made.waiting
    list(made.cut("lost"))
    assert made.ask() == []


def test_a_question_that_was_called_off_while_there_is_no_session_is_not_heard_again() -> None:
    made = turns(3)
    made.note(UserStarted(), 0)
    made.note(UserStopped(), 0)
    made.lose(server_turns=True)
    made.interrupt(None, 0, by_service=False)
    assert made.find(resumed=False) == made.sound.end


def test_nobody_hears_of_a_tool_that_ran_when_the_agent_was_silenced() -> None:
    for reply in (None, "r"):
        made = called()
        made.interrupt(reply, 0, by_service=False)
        assert made.result("c", '"on"'), "the service that asked is answered all the same"
        assert made.take_result() is None
        assert not made.waiting
        made = called()
        made.result("c", '"on"')
        made.interrupt(reply, 0, by_service=False)
        assert made.take_result() is None


def test_what_the_service_has_interrupted_by_itself_makes_no_tool_unwanted() -> None:
    made = called()
    made.interrupt("r", 0, by_service=True)
    assert made.result("c", '"on"')
    assert made.take_result() == SAY


def test_tools_that_nobody_called_or_that_were_called_off_have_no_result() -> None:
    made = called()
    made.note(ToolCancelled("c"), 0)
    assert not made.result("c", "{}")
    assert not made.result("x", "{}")


def test_what_is_said_after_an_answer_was_stopped_before_it_began_is_taken_for_it_until_the_person_speaks() -> None:
    for speaks in (lambda made: made.note(UserStarted(), 0), Turns.end_turn):
        made = turns()
        made.interrupt("r", 0, by_service=False)
        assert not made.was_cut_short
        made.interrupt(None, 0, by_service=False)
        assert made.was_cut_short
        speaks(made)
        assert not made.was_cut_short
