#!/bin/sh
# Speaks the demo's clips: espeak-ng, sox and nothing else.
set -eu
cd "$(dirname "$0")"
speak() { # name, voice, pitch, speed, words
    espeak-ng -v "$2" -p "$3" -s "$4" -w "$1.wav" "$5"
    sox "$1.wav" -r 16000 -b 16 "$1.flac" norm -3
    rm "$1.wav"
}
speak good_news en-us+f3 70 175 "I am so happy! We won the game, this is the best day of my life."
speak bad_news en-gb+m3 30 120 "I miss her so much. I have been crying since she died."
speak complaint en-us+m7 55 190 "This is outrageous! I hate how you treat your customers."
speak directions en-gb+f2 50 150 "The train to London leaves from platform four."
speak wegbeschreibung de+m1 50 150 "Der Zug nach Berlin fährt von Gleis vier."
