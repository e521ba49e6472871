"""A small list of English emotion words, taken from no published lexicon, and a function that counts them in a text."""

from __future__ import annotations

import re
from functools import cache

STEMS = {
    "anger": """
        anger* angr* mad maddening furious* fury rage rages raging enraged outrag* irritat* annoy* hate hates hated hateful hating
        hatred resent* hostil* bitter bitterly bitterness frustrat* infuriat* livid irate rude rudely insult* offend offended
        offends offens* idiot* stupid* moron* jerk jerks bastard* bitch* asshole* damn damned dammit goddamn hell screw screwed
        bullshit crap fuck* betray* liar liars cheat* unfair blame* blaming fight fights fighting threat* revenge vengeful scream*
        yell yells yelled yelling provok* despis* loath* bully* bullie* impatien* disrespect* unaccept* ridiculous* nonsense
        aggress* grumpy cranky pissed""",
    "disgust": """
        disgust* gross grossly grosser yuck yucky ew eww ewww ugh nasty nastier revolt* repuls* sick sicken* vomit* puke pukes
        puking nause* rotten stink* stank stench smelly filth* foul vile creep* creepy crept slimy icky horrid putrid mold* mould*
        toilet spit spitting pervert* perverse* cringe* cringy obscen* indecent repugnan* abhor* distast* unsavory unsavoury gag
        gagging shameless* sleazy sordid tacky hideous* ugly""",
    "fear": """
        fear fears feared fearful* fearing afraid scare scares scaring scary scared frighten* fright terrif* terror* horrif* horror*
        panic* panick* anxi* nervous* worry worries worried worrying worrisome dread dreaded dreadful* threaten* danger* unsafe
        alarm* phobi* nightmar* timid* tremble* trembling shaking shaky apprehens* uneasy tense tension* hysteric* paranoi*
        helpless* escape* emergency beware spook* haunt* petrif* shudder* risky insecure""",
    "happiness": """
        happy happi* joy joyful* joyous* joys glad gladly delight* pleased pleasing pleasant* pleasure* cheer* laugh* lol haha
        hahaha hehe smil* grin grins grinning love loves loved lovely loving ador* enjoy* fun funny hilarious* amus* great greatest
        awesome* wonderful* fantastic* excellent* amazing* brilliant* terrific* fabulous* perfect perfectly beautiful* nice nicely
        good best win wins winning won winner* victory victories victorious success* celebrat* congratulat* congrats thank thanks
        thankful* grateful* gratitude appreciat* hope* hoping proud* pride excit* thrilled thrilling thrills enthusias* eager* yay
        yeah hooray hurrah hurray woohoo yippee bravo blessed blessing* lucky luckily fortunate* sweet sweetheart cute bliss* ecsta*
        elat* optimis* content contented satisf* marvelous* marvellous* splendid* superb superbly favorite* favourite* welcome cool""",
    "sadness": """
        sad sadder saddest sadden* sadly sadness unhapp* sorrow* sorry grief griev* mourn* cry cries cried crying tear tears
        tearful* weep* wept sob sobs sobbing depress* despair* desperat* hopeless* miser* lonel* lonesome alone heartbr* broken
        broke hurt hurts hurting pain painful* ache* aching suffer* tragic* tragedy tragedies loss lost lose losing miss missed die
        dies died dead dying death* funeral* gloom* melanchol* regret* disappoint* fail fails failed failure* unfortunate* unlucky
        pity pitiful* pathetic* poor ashamed shame guilt* sigh sighs homesick downhearted upset upsett* apolog* wretched* forlorn
        bereave* abandon* reject* discourag* devastat* worthless*""",
    "surprise": """
        surpris* astonish* astound* amaze amazed amazement shock* stun stunn* startl* unexpect* unbeliev* incredib* wow whoa woah
        omg gosh gasp* really sudden suddenly wonder wondering unforeseen bewilder* baffl* dumbfound* flabbergast* speechless*
        blimey jeez oh holy unreal disbelief wtf huh curious* strange strangely weird* odd oddly""",
    "calm": """
        calm calmer calmly calmness calming relax* peace peaceful* serene* serenity tranquil* quiet* rest rested resting restful
        soothe* soothing gentle gently comfortabl* cozy cosy mellow unhurried easygoing composed meditat* breathe""",
    "boredom": """
        bore bored boredom boring dull dullness tedious* tedium monoton* yawn* uninterest* weary wearisome dreary humdrum drab
        repetitive mundane tiresome uneventful blah meh""",
}  # fmt: skip
"""English words of each emotion; a star stands for any ending."""

_NEGATIONS = """
    not no never none nobody nothing neither nor without hardly barely scarcely cannot cant dont doesnt didnt isnt arent wasnt
    werent aint wont wouldnt shouldnt couldnt havent hasnt hadnt"""
_INTENSIFIERS = "very so really extremely absolutely totally completely utterly too truly deeply incredibly"

NEGATIONS = frozenset(_NEGATIONS.split())
"""Words, without apostrophes, that negate the words after them."""

REACH = 3
"""How many words after it a negation changes; it ends with its clause."""

INTENSIFIERS = frozenset(_INTENSIFIERS.split())
"""Words that double the word after them."""

NEGATED = {"happiness": "sadness", "calm": "fear"}
"""Emotion of a negated word: "not happy" counts as sad; "not angry" counts for no emotion."""


def emotion_counts(text: str) -> dict[str, float]:
    """How often words of each emotion occur in an English text.

    A word behind one of `INTENSIFIERS` counts twice. Up to three words behind a negation, in the same clause, a word of happiness
    counts for sadness, one of calm for fear, others not at all.

    Args:
        text: English text; words of other languages do not count.

    Returns:
        Weighted counts by emotion, for the emotions that occur.

    Example:
        >>> from multimodal_ser.evaluation.baselines.lexicon import emotion_counts
        >>> emotion_counts("I'm so happy, I love it!"), emotion_counts("I am not happy."), emotion_counts("The door is open.")
        ({'happiness': 3.0}, {'sadness': 1.0}, {})
    """
    exact, prefixes = _index()
    counts: dict[str, float] = {}
    plain = text.lower().replace("’", "").replace("'", "")
    for clause in re.split(r"[^\w\s-]+|\b(?:but|however|although|though)\b", plain):
        words = re.findall(r"[^\W\d_]+", clause)
        for at, word in enumerate(words):
            emotion = exact.get(word)
            if emotion is None:
                emotion = next((prefixes[word[:n]] for n in range(len(word), 1, -1) if word[:n] in prefixes), None)
            if emotion is None or (word in INTENSIFIERS and at + 1 < len(words)):
                continue
            weight = 2.0 if at and words[at - 1] in INTENSIFIERS else 1.0
            if NEGATIONS.intersection(words[max(0, at - REACH) : at]):
                if emotion not in NEGATED:
                    continue
                emotion = NEGATED[emotion]
            counts[emotion] = counts.get(emotion, 0.0) + weight
    return counts


@cache
def _index() -> tuple[dict[str, str], dict[str, str]]:
    """The emotion of each whole word, and of each beginning of words."""
    exact: dict[str, str] = {}
    prefixes: dict[str, str] = {}
    for emotion, words in STEMS.items():
        for word in words.split():
            (prefixes if word.endswith("*") else exact)[word.removesuffix("*")] = emotion
    return exact, prefixes
