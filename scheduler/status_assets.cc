#include "scheduler/status_assets.h"

#include "common/embedded_file.h"

namespace marquee {

MARQUEE_EMBEDDED_FILE(StatusHtml, MARQUEE_STATUS_FOLDER "/status.html")
MARQUEE_EMBEDDED_FILE(StatusScript, MARQUEE_STATUS_FOLDER "/status.js")
MARQUEE_EMBEDDED_FILE(StatusStyle, MARQUEE_STATUS_FOLDER "/status.css")

}  // namespace marquee
