#include "serving/movie_assets.h"

#include "common/embedded_file.h"

namespace marquee {

MARQUEE_EMBEDDED_FILE(MoviesHtml, MARQUEE_MOVIES_FOLDER "/movies.html")
MARQUEE_EMBEDDED_FILE(MoviesScript, MARQUEE_MOVIES_FOLDER "/movies.js")
MARQUEE_EMBEDDED_FILE(MoviesStyle, MARQUEE_MOVIES_FOLDER "/movies.css")

}  // namespace marquee
