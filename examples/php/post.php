<?php

declare(strict_types=1);

// Posts a recording. webhook.php prints the dialogue when the transcript is there.
//
//     php post.php call.wav crm-48151
//
// It needs PHP 8.1 and nothing else. ../README.md describes the environment variables.

require __DIR__ . '/callscribe.php';

/** Posts a recording. The call's id is the idempotency key, so that one call never becomes two jobs. */
function post(string $recording, string $callId): array
{
    $boundary = bin2hex(random_bytes(16));
    $fields = [
        ['channels', 'split'],
        ['channel_labels', 'agent'],
        ['channel_labels', 'customer'],
        ['external_id', $callId],
        ['webhook_url', setting('WEBHOOK_URL', 'http://127.0.0.1:' . setting('PORT', '9000') . '/')],
    ];
    $body = '';
    foreach ($fields as [$name, $value]) {
        $body .= "--$boundary\r\nContent-Disposition: form-data; name=\"$name\"\r\n\r\n$value\r\n";
    }
    $name = basename($recording);
    $body .= "--$boundary\r\nContent-Disposition: form-data; name=\"file\"; filename=\"$name\"\r\n\r\n";
    $body .= file_get_contents($recording) . "\r\n--$boundary--\r\n";
    $key = rawurlencode($callId); // a header is in ASCII
    $headers = ["Content-Type: multipart/form-data; boundary=$boundary", "Idempotency-Key: $key"];
    return send('POST', api_url() . '/v1/transcriptions', $headers, $body);
}

if ($argc !== 3) {
    fwrite(STDERR, "usage: php post.php RECORDING CALL_ID\n");
    exit(2);
}
if (!is_readable($argv[1])) {
    fwrite(STDERR, "$argv[1] cannot be read.\n");
    exit(2);
}
try {
    $job = post($argv[1], $argv[2]);
    echo "{$job['id']} {$job['status']}\n";
} catch (CallFailed $error) {
    fwrite(STDERR, $error->getMessage() . "\n");
    exit(1);
}
