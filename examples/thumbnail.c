
/*
 * thumbnail: a JPEG or PNG in, a smaller one of the same kind out, by
 * libjpeg-turbo and libpng.
 *
 *     curl --data-binary @photo.jpg -o small.jpg \
 *         'http://127.0.0.1:8080/fn/thumbnail?w=320&h=200'
 *
 * The picture is fitted into w x h (1 to 2048; default 200 x 200, or as
 * narrow as the one that is given asks for), keeps its proportions, is never
 * enlarged, and stands upright: the orientation that cameras write is
 * applied, since what a thumbnail carries of other metadata is nothing.
 *
 * One-shot: decoders of untrusted pictures are where faults are, so every
 * picture gets a process that has seen no other.
 *
 * What is small on the wire may be huge in memory.  The dimensions are read
 * from the header and checked before a pixel is decoded (413), JPEGs are
 * decoded at the smallest scale that still has the pixels needed, and
 * progressive ones may not have absurdly many scans.
 *
 *     400  no body, a damaged picture, w or h out of range
 *     405  neither POST nor PUT
 *     413  over 32 MiB, or too many pixels
 *     415  neither JPEG nor PNG, or a JPEG in CMYK
 */


#include <stdlib.h>
#include <string.h>

#include <png.h>
#include <turbojpeg.h>

#include <faas.h>


#define THUMBNAIL_BYTES        (32 * 1024 * 1024)
#define THUMBNAIL_JPEG_PIXELS  (64 * 1000 * 1000)
#define THUMBNAIL_PNG_PIXELS   (32 * 1000 * 1000)
#define THUMBNAIL_SIDE         2048
#define THUMBNAIL_DEFAULT      200
#define THUMBNAIL_QUALITY      82


/* A decoded picture, 4 bytes a pixel: R G B A.  Whoever fills it in gives
   pixels from malloc(); thumbnail() frees them. */

typedef struct {
    int             width;
    int             height;
    unsigned char  *pixels;
} thumbnail_image_t;


/* what is wrong with a request: an answer to be given, NULL text: nothing */

typedef struct {
    int             status;
    const char     *text;
} thumbnail_error_t;


/* one request on its way: what came, what is wanted, what was wrong */

typedef struct {
    const unsigned char  *data;
    size_t                size;
    int                   width;         /* of the box to fit into */
    int                   height;
    int                   orientation;   /* 1 to 8, as Exif numbers them */
    thumbnail_error_t     error;
} thumbnail_job_t;


static int thumbnail_parse(faas_request_t *r, thumbnail_job_t *job);
static int thumbnail_side(faas_request_t *r, const char *name, int absent);
static int thumbnail_jpeg(faas_request_t *r, thumbnail_job_t *job);
static int thumbnail_jpeg_header(thumbnail_job_t *job, tjhandle handle,
    int *width, int *height);
static int thumbnail_jpeg_decode(thumbnail_job_t *job, tjhandle handle,
    thumbnail_image_t *image);
static int thumbnail_jpeg_write(faas_request_t *r,
    const thumbnail_image_t *image);
static int thumbnail_orientation(const unsigned char *p, size_t n);
static int thumbnail_exif(const unsigned char *p, size_t n);
static int thumbnail_png(faas_request_t *r, thumbnail_job_t *job);
static int thumbnail_png_decode(thumbnail_job_t *job,
    thumbnail_image_t *image);
static int thumbnail_png_write(faas_request_t *r,
    const thumbnail_image_t *image);
static void thumbnail_fit(int width, int height, int box_width,
    int box_height, int *w, int *h);
static int thumbnail_shrink(const thumbnail_image_t *from, int width,
    int height, thumbnail_image_t *to);
static void thumbnail_average(const thumbnail_image_t *from, int x0, int x1,
    int y0, int y1, unsigned char *to);
static int thumbnail_turn(thumbnail_image_t *image, int orientation);
static int thumbnail_fail(thumbnail_job_t *job, int status,
    const char *text);


static const unsigned char  thumbnail_jpeg_magic[] = { 0xff, 0xd8, 0xff };
static const unsigned char  thumbnail_png_magic[] = {
    0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'
};


static int
thumbnail(faas_request_t *r)
{
    int              rc;
    thumbnail_job_t  job;

    memset(&job, 0, sizeof(thumbnail_job_t));

    rc = thumbnail_parse(r, &job);

    if (rc == FAAS_OK) {

        if (job.size >= sizeof(thumbnail_jpeg_magic)
            && memcmp(job.data, thumbnail_jpeg_magic,
                      sizeof(thumbnail_jpeg_magic)) == 0)
        {
            rc = thumbnail_jpeg(r, &job);

        } else if (job.size >= sizeof(thumbnail_png_magic)
                   && memcmp(job.data, thumbnail_png_magic,
                             sizeof(thumbnail_png_magic)) == 0)
        {
            rc = thumbnail_png(r, &job);

        } else {
            rc = thumbnail_fail(&job, 415, "neither a JPEG nor a PNG");
        }
    }

    if (job.error.text != NULL) {
        faas_status(r, job.error.status);
        faas_header_set(r, "Content-Type", "text/plain");

        return faas_printf(r, "%s\n", job.error.text);
    }

    return rc;
}


static int
thumbnail_parse(faas_request_t *r, thumbnail_job_t *job)
{
    const char  *method;

    method = faas_method(r);

    if (strcmp(method, "POST") != 0 && strcmp(method, "PUT") != 0) {
        faas_header_set(r, "Allow", "POST, PUT");
        return thumbnail_fail(job, 405, "post a picture");
    }

    if (faas_query(r, "w", NULL) == NULL && faas_query(r, "h", NULL) == NULL) {
        job->width = THUMBNAIL_DEFAULT;
        job->height = THUMBNAIL_DEFAULT;

    } else {
        job->width = thumbnail_side(r, "w", THUMBNAIL_SIDE);
        job->height = thumbnail_side(r, "h", THUMBNAIL_SIDE);
    }

    if (job->width == -1 || job->height == -1) {
        return thumbnail_fail(job, 400, "w and h are numbers, 1 to 2048");
    }

    if (faas_content_length(r) > THUMBNAIL_BYTES) {
        return thumbnail_fail(job, 413, "more than 32 MiB");
    }

    job->data = (const unsigned char *) faas_body(r, THUMBNAIL_BYTES,
                                                  &job->size);

    if (job->data == NULL) {
        return thumbnail_fail(job, 400, "the body could not be read");
    }

    if (job->size == 0) {
        return thumbnail_fail(job, 400, "post a picture");
    }

    return FAAS_OK;
}


/* an argument that is a side of the box, or absent; -1: no such number */

static int
thumbnail_side(faas_request_t *r, const char *name, int absent)
{
    int          n;
    const char  *p;

    p = faas_query(r, name, NULL);

    if (p == NULL) {
        return absent;
    }

    for (n = 0; *p >= '0' && *p <= '9' && n <= THUMBNAIL_SIDE; p++) {
        n = n * 10 + (*p - '0');
    }

    return (*p == '\0' && n >= 1 && n <= THUMBNAIL_SIDE) ? n : -1;
}


/* -- JPEG ------------------------------------------------------------------ */

static int
thumbnail_jpeg(faas_request_t *r, thumbnail_job_t *job)
{
    int                rc, side;
    tjhandle           handle;
    thumbnail_image_t  image;

    image.pixels = NULL;

    job->orientation = thumbnail_orientation(job->data, job->size);

    /* the box is for the upright picture, decoding is before turning it */

    if (job->orientation >= 5) {
        side = job->width;
        job->width = job->height;
        job->height = side;
    }

    handle = tjInitDecompress();
    if (handle == NULL) {
        return FAAS_ERROR;
    }

    rc = thumbnail_jpeg_decode(job, handle, &image);

    (void) tjDestroy(handle);

    if (rc == FAAS_OK) {
        rc = thumbnail_turn(&image, job->orientation);
    }

    if (rc == FAAS_OK) {
        rc = thumbnail_jpeg_write(r, &image);
    }

    free(image.pixels);

    return rc;
}


static int
thumbnail_jpeg_header(thumbnail_job_t *job, tjhandle handle, int *width,
    int *height)
{
    int  subsampling, colorspace;

    if (tjDecompressHeader3(handle, job->data, job->size, width, height,
                            &subsampling, &colorspace)
        == -1
        || *width <= 0 || *height <= 0)
    {
        return thumbnail_fail(job, 400, "a damaged JPEG");
    }

    if (colorspace == TJCS_CMYK || colorspace == TJCS_YCCK) {
        return thumbnail_fail(job, 415, "a JPEG in CMYK");
    }

    if (*height > THUMBNAIL_JPEG_PIXELS / *width) {
        return thumbnail_fail(job, 413, "too many pixels");
    }

    return FAAS_OK;
}


/*
 * The decoder itself can scale by n/8.  What is left to do for
 * thumbnail_shrink() is less than a factor of two.
 */

static int
thumbnail_jpeg_decode(thumbnail_job_t *job, tjhandle handle,
    thumbnail_image_t *image)
{
    int                i, n, rc, width, height, w, h, scaled_w, scaled_h;
    tjscalingfactor   *factors;
    thumbnail_image_t  large;

    rc = thumbnail_jpeg_header(job, handle, &width, &height);
    if (rc != FAAS_OK) {
        return rc;
    }

    thumbnail_fit(width, height, job->width, job->height, &w, &h);

    factors = tjGetScalingFactors(&n);
    if (factors == NULL) {
        return FAAS_ERROR;
    }

    large.width = width;
    large.height = height;

    for (i = 0; i < n; i++) {
        scaled_w = TJSCALED(width, factors[i]);
        scaled_h = TJSCALED(height, factors[i]);

        if (scaled_w >= w && scaled_h >= h && scaled_w < large.width) {
            large.width = scaled_w;
            large.height = scaled_h;
        }
    }

    large.pixels = malloc((size_t) large.width * (size_t) large.height * 4);
    if (large.pixels == NULL) {
        return FAAS_ERROR;
    }

    if (tjDecompress2(handle, job->data, job->size, large.pixels,
                      large.width, 0, large.height, TJPF_RGBA,
                      TJFLAG_LIMITSCANS)
        == -1)
    {
        rc = thumbnail_fail(job, 400, "a damaged JPEG");

    } else {
        rc = thumbnail_shrink(&large, w, h, image);
    }

    free(large.pixels);

    return rc;
}


static int
thumbnail_jpeg_write(faas_request_t *r, const thumbnail_image_t *image)
{
    int             rc;
    tjhandle        handle;
    unsigned char  *data;
    unsigned long   size;

    handle = tjInitCompress();
    if (handle == NULL) {
        return FAAS_ERROR;
    }

    rc = FAAS_ERROR;
    data = NULL;
    size = 0;

    if (tjCompress2(handle, image->pixels, image->width, 0, image->height,
                    TJPF_RGBA, &data, &size, TJSAMP_420, THUMBNAIL_QUALITY, 0)
        == 0)
    {
        rc = faas_header_set(r, "Content-Type", "image/jpeg");

        if (rc == FAAS_OK) {
            rc = faas_write(r, data, size);
        }

    } else {
        faas_log(r, "JPEG encoder: %s", tjGetErrorStr2(handle));
    }

    tjFree(data);
    (void) tjDestroy(handle);

    return rc;
}


/*
 * The orientation that the camera noted: walks the markers up to the first
 * scan, and takes it from the first Exif segment.  1, upright, when there is
 * none, or nothing in it can be trusted.
 */

static int
thumbnail_orientation(const unsigned char *p, size_t n)
{
    size_t  i, length;

    for (i = 2; n - i >= 4; i += 2 + length) {

        if (p[i] != 0xff || p[i + 1] == 0xda || p[i + 1] == 0xd9) {
            break;
        }

        length = (size_t) p[i + 2] << 8 | p[i + 3];

        if (length < 2 || length > n - i - 2) {
            break;
        }

        if (p[i + 1] == 0xe1 && length >= 8
            && memcmp(&p[i + 4], "Exif\0", 6) == 0)
        {
            return thumbnail_exif(&p[i + 10], length - 8);
        }
    }

    return 1;
}


/* the same from the TIFF structure inside: tag 0x112 of the first directory */

static int
thumbnail_exif(const unsigned char *p, size_t n)
{
    int                   big;
    size_t                i, at, count;
    const unsigned char  *entry;

#define exif_16(q)  (big ? (size_t) (q)[0] << 8 | (q)[1]                      \
                         : (size_t) (q)[1] << 8 | (q)[0])
#define exif_32(q)  (big ? exif_16(q) << 16 | exif_16((q) + 2)                \
                         : exif_16((q) + 2) << 16 | exif_16(q))

    if (n < 8) {
        return 1;
    }

    if (memcmp(p, "MM\0*", 4) == 0) {
        big = 1;

    } else if (memcmp(p, "II*\0", 4) == 0) {
        big = 0;

    } else {
        return 1;
    }

    at = exif_32(p + 4);

    if (at > n - 2) {
        return 1;
    }

    count = exif_16(p + at);
    at += 2;

    for (i = 0; i < count && n - at >= 12; i++, at += 12) {
        entry = p + at;

        if (exif_16(entry) == 0x0112) {
            count = exif_16(entry + 8);
            return (count >= 1 && count <= 8) ? (int) count : 1;
        }
    }

    return 1;

#undef exif_16
#undef exif_32
}


/* -- PNG ------------------------------------------------------------------- */

static int
thumbnail_png(faas_request_t *r, thumbnail_job_t *job)
{
    int                rc, w, h;
    thumbnail_image_t  large, image;

    image.pixels = NULL;

    rc = thumbnail_png_decode(job, &large);
    if (rc != FAAS_OK) {
        return rc;
    }

    thumbnail_fit(large.width, large.height, job->width, job->height, &w, &h);

    rc = thumbnail_shrink(&large, w, h, &image);

    free(large.pixels);

    if (rc == FAAS_OK) {
        rc = thumbnail_png_write(r, &image);
    }

    free(image.pixels);

    return rc;
}


static int
thumbnail_png_decode(thumbnail_job_t *job, thumbnail_image_t *image)
{
    png_image  png;

    memset(&png, 0, sizeof(png_image));
    png.version = PNG_IMAGE_VERSION;

    image->pixels = NULL;

    if (!png_image_begin_read_from_memory(&png, job->data, job->size)
        || png.width == 0 || png.height == 0)
    {
        png_image_free(&png);
        return thumbnail_fail(job, 400, "a damaged PNG");
    }

    if (png.width > THUMBNAIL_PNG_PIXELS
        || png.height > THUMBNAIL_PNG_PIXELS / png.width)
    {
        png_image_free(&png);
        return thumbnail_fail(job, 413, "too many pixels");
    }

    png.format = PNG_FORMAT_RGBA;

    image->width = (int) png.width;
    image->height = (int) png.height;
    image->pixels = malloc(PNG_IMAGE_SIZE(png));

    if (image->pixels == NULL) {
        png_image_free(&png);
        return FAAS_ERROR;
    }

    if (!png_image_finish_read(&png, NULL, image->pixels, 0, NULL)) {
        png_image_free(&png);
        free(image->pixels);
        image->pixels = NULL;
        return thumbnail_fail(job, 400, "a damaged PNG");
    }

    return FAAS_OK;
}


static int
thumbnail_png_write(faas_request_t *r, const thumbnail_image_t *image)
{
    int                rc;
    void              *data;
    png_image          png;
    png_alloc_size_t   size;

    memset(&png, 0, sizeof(png_image));
    png.version = PNG_IMAGE_VERSION;
    png.width = (png_uint_32) image->width;
    png.height = (png_uint_32) image->height;
    png.format = PNG_FORMAT_RGBA;

    size = PNG_IMAGE_PNG_SIZE_MAX(png);

    data = malloc(size);
    if (data == NULL) {
        return FAAS_ERROR;
    }

    rc = FAAS_ERROR;

    if (png_image_write_to_memory(&png, data, &size, 0, image->pixels, 0,
                                  NULL))
    {
        rc = faas_header_set(r, "Content-Type", "image/png");

        if (rc == FAAS_OK) {
            rc = faas_write(r, data, size);
        }

    } else {
        faas_log(r, "PNG encoder: %s", png.message);
    }

    free(data);

    return rc;
}


/* -- pixels ---------------------------------------------------------------- */

/* the largest size of these proportions that fits, not above the original */

static void
thumbnail_fit(int width, int height, int box_width, int box_height, int *w,
    int *h)
{
    *w = width;
    *h = height;

    if (*w > box_width) {
        *w = box_width;
        *h = (int) ((long long) height * box_width / width);
    }

    if (*h > box_height) {
        *h = box_height;
        *w = (int) ((long long) width * box_height / height);
    }

    if (*w < 1) {
        *w = 1;
    }

    if (*h < 1) {
        *h = 1;
    }
}


/* every pixel of the result is the mean of those that it stands for */

static int
thumbnail_shrink(const thumbnail_image_t *from, int width, int height,
    thumbnail_image_t *to)
{
    int             x, y, x0, x1, y0, y1;
    unsigned char  *p;

    to->width = width;
    to->height = height;
    to->pixels = malloc((size_t) width * (size_t) height * 4);

    if (to->pixels == NULL) {
        return FAAS_ERROR;
    }

    p = to->pixels;

    for (y = 0; y < height; y++) {
        y0 = (int) ((long long) y * from->height / height);
        y1 = (int) ((long long) (y + 1) * from->height / height);

        for (x = 0; x < width; x++) {
            x0 = (int) ((long long) x * from->width / width);
            x1 = (int) ((long long) (x + 1) * from->width / width);

            thumbnail_average(from, x0, x1, y0, y1, p);

            p += 4;
        }
    }

    return FAAS_OK;
}


/* colours count by their opacity: what is transparent has no colour */

static void
thumbnail_average(const thumbnail_image_t *from, int x0, int x1, int y0,
    int y1, unsigned char *to)
{
    int                   i, x, y;
    unsigned long long    sum[3], alpha, n;
    const unsigned char  *p;

    sum[0] = sum[1] = sum[2] = alpha = 0;
    n = (unsigned long long) (x1 - x0) * (unsigned long long) (y1 - y0);

    for (y = y0; y < y1; y++) {
        p = from->pixels + ((size_t) y * (size_t) from->width + (size_t) x0)
                           * 4;

        for (x = x0; x < x1; x++, p += 4) {
            for (i = 0; i < 3; i++) {
                sum[i] += (unsigned long long) p[i] * p[3];
            }

            alpha += p[3];
        }
    }

    for (i = 0; i < 3; i++) {
        to[i] = alpha ? (unsigned char) ((sum[i] + alpha / 2) / alpha) : 0;
    }

    to[3] = n ? (unsigned char) ((alpha + n / 2) / n) : 0;
}


/*
 * Turns an image that was stored in one of Exif's eight orientations
 * upright.  For the pixel (x, y) of the result: where it is stored.
 */

static int
thumbnail_turn(thumbnail_image_t *image, int orientation)
{
    int             x, y, from_x, from_y, width, height;
    unsigned char  *pixels, *p;

    if (orientation <= 1) {
        return FAAS_OK;
    }

    width = (orientation >= 5) ? image->height : image->width;
    height = (orientation >= 5) ? image->width : image->height;

    pixels = malloc((size_t) width * (size_t) height * 4);
    if (pixels == NULL) {
        return FAAS_ERROR;
    }

    p = pixels;

    for (y = 0; y < height; y++) {
        for (x = 0; x < width; x++) {

            from_x = (orientation >= 5) ? y : x;
            from_y = (orientation >= 5) ? x : y;

            if (orientation == 2 || orientation == 3 || orientation == 7
                || orientation == 8)
            {
                from_x = image->width - 1 - from_x;
            }

            if (orientation == 3 || orientation == 4 || orientation == 6
                || orientation == 7)
            {
                from_y = image->height - 1 - from_y;
            }

            memcpy(p, image->pixels
                      + ((size_t) from_y * (size_t) image->width
                         + (size_t) from_x) * 4, 4);
            p += 4;
        }
    }

    free(image->pixels);

    image->pixels = pixels;
    image->width = width;
    image->height = height;

    return FAAS_OK;
}


static int
thumbnail_fail(thumbnail_job_t *job, int status, const char *text)
{
    job->error.status = status;
    job->error.text = text;

    return FAAS_ERROR;
}


FAAS_FUNCTION(.handler = thumbnail, .mode = "oneshot", .timeout = "20s",
              .memory = "512m")
